//! Requests in, pages and JSON out. Pure.
//!
//! * [`request`]: what a request asks for, and whether whoever sends it may. [`access`]: keys and cookies.
//! * [`page`]: the page. [`response`]: what goes back.

pub mod access;
pub mod page;
pub mod request;
pub mod response;
