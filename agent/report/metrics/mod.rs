//! Metrics for Prometheus: a file for the textfile collector of its node_exporter. No port is opened.
//!
//! * [`measurements`]: what is measured.
//! * [`text`]: how it is written.
//! * [`textfile`]: when and where.

pub mod measurements;
pub mod text;
pub mod textfile;
