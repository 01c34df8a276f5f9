//! Nothing of its own: what counts are the tests.
