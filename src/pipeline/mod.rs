//! The straight line of one request.
