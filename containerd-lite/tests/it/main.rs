//! The host agent's tests: scripts of the job machine, and real jobs as root.

mod job;
