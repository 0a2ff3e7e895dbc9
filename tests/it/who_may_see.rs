//! Who may see what, attacked: one named test for each case of `docs/scenarios/access.md`.

mod active_content;
mod addresses;
mod audit;
mod boundaries;
mod browsers;
mod key_rotation;
mod oracle;
mod output;
mod paths;
mod series;
mod source;
mod tokens;
