//! What Prometheus can know of this instance: a file for the textfile collector of its node_exporter. No port is opened.
//!
//! * [`facts`]: what it tells.
//! * [`text`]: how that is written.
//! * [`textfile`]: when and where.

pub mod facts;
pub mod text;
pub mod textfile;
