//! Behaviour of containers, one module per concern.

mod confine;
mod hostile;
mod lifecycle;
mod limits;
mod terminal;
