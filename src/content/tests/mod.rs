//! Tests of what is shared. They stand outside its files, which `shuttled` compiles a second time.

mod shuttled;
mod single_flight;
mod window;
