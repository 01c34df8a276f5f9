//! The commands, each a module with a function `run`.
mod child;
pub(crate) mod demo;
pub(crate) mod doctor;
mod ignored;
pub(crate) mod kill;
mod open_files;
pub(crate) mod proxy;
pub(crate) mod run;
mod screen;
pub(crate) mod status;
pub(crate) mod top;
