//! Tests of the whole gateway, one file a feature.
