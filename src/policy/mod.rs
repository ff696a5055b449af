//! What a route demands of a request.
