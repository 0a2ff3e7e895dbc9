//! What is recorded: every metric's name, unit and labels in one table; the access log.
//!
//! Ground: imports no room. No user and no object in a label; no token, signature or cookie in a line.
