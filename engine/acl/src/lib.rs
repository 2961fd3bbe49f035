//! Who may do what: the plain access control of RocketMQ 4.9 (its module `acl`), without I/O. Entry point:
//! [`AclRules::check`].
//!
//! Modules in reading order:
//!
//! - [`permission`] what may be done with a topic or by a group;
//! - [`address`] patterns of addresses that need no signature;
//! - `yaml` the syntax of the files, within bounds;
//! - [`file`](mod@file) one file of accounts, [`account`] one of them;
//! - [`change`] what operators change, and how the file then looks;
//! - `resources` what a request asks for;
//! - [`rules`] several files together, and whether a request passes them.
//!
//! ```text
//! globalWhiteRemoteAddresses:
//! - 10.10.103.*
//! accounts:
//! - accessKey: RocketMQ
//!   secretKey: 12345678
//!   whiteRemoteAddress:
//!   admin: false
//!   defaultTopicPerm: DENY
//!   defaultGroupPerm: SUB
//!   topicPerms:
//!   - topicA=PUB|SUB
//!   groupPerms:
//!   - groupB=SUB
//! ```
//!
//! Where 4.9 leaves a door open that its files do not speak of, we shut it (docs/decisions.md, Access control).
//!
//! A peer writes requests, an operator writes files: a request costs what it brings, times the logarithm of the
//! account's permissions and once the global addresses; a file is bounded in bytes and depth.

pub mod permission;

pub mod address;

mod yaml;

pub mod account;
pub mod file;

pub mod change;

mod resources;

pub mod rules;

pub use account::Account;
pub use address::RemoteAddresses;
pub use file::{AclFile, AclFileError};
pub use permission::Permission;
pub use rules::{AclDenied, AclRules};

/// Bytes of one file at most.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// Characters that access keys and secret keys have at least.
pub const KEY_CHARS_MIN: usize = 7;
