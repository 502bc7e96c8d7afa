//! The files and repositories that agents may touch.
//!
//! | part | what it is |
//! | --- | --- |
//! | [`WorkspacePath`] | the one check of a path, for every road into a workspace |
//! | [`Roots`] | the folders that the operator allows |
//! | [`Folder`] | files by open handles: no path is resolved twice, and no symbolic link is followed |
//! | [`git`] | the one way to call the program `git` |
//! | [`Repository`] | what agents may do with a repository |
//! | [`Worktrees`] | the trees that tasks work in, with the paths that each may change |
//!
//! Everything here is synchronous, bounded in size, and looks at its [`Stop`] while it works. Nothing here may follow
//! a symbolic link below a root, write into a tree that no task has made except as [`Repository::follow`] says, or
//! run a program that a repository names.

pub mod git;

mod folder;
mod roots;
mod search;
mod write;

mod path;

mod repository;
mod worktree;

mod error;

pub use error::Error;
pub use folder::{ENTRIES_MAX, Entry, Folder, Kind, Listing, READ_BYTES_MAX, Read};
pub use path::WorkspacePath;
pub use repository::{
    Blamed, Branch, ChangedFile, Commit, Composed, DIFF_BYTES_MAX, Diff, FileDiff, Guard, Identity, Merge,
    NewFile, Repository, Status, StatusEntry,
};
pub use roots::{Access, Roots};
pub use search::{Found, MATCHES_MAX, Match, Query};
pub use worktree::{Declared, Worktree, Worktrees, WriteSet};
pub use write::{Existing, WRITE_BYTES_MAX, Written};

/// Whether the result is still wanted: long work asks now and then.
pub type Stop<'a> = &'a (dyn Fn() -> bool + Sync);
