//! Requests in, pages and JSON out. Pure.
//!
//! * [`request`]: what a request asks for, and whether whoever sends it may. [`access`]: keys and cookies. [`allow`]: whom the
//!   broker may start the server for.
//! * [`page`]: the page. [`response`]: what goes back.

pub mod access;
pub mod allow;
pub mod page;
pub mod request;
pub mod response;
