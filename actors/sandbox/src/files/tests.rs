//! Checks of paths and archives.
