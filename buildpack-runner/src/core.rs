//! The decisions of a build, without files, clocks or children.

pub mod ignore;
pub mod line;
pub mod phases;
pub mod procfile;
pub mod reference;
pub mod release;

#[cfg(test)]
mod tests;
