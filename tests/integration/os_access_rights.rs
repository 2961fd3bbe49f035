//! Access rights of files, which are the operating system's alone: the simulated disk has none.
#![expect(clippy::disallowed_methods, reason = "access rights are not the seam's")]

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use mq_env::Env;
use mq_env::disk::Disk;
use mq_env::disk::replaced_file::{backup_of, replace_file};

/// The rights of a file and of its backup after it was replaced with rights `mode`.
async fn replaced(disk: &dyn Disk, path: &Path, mode: u32, content: &[u8]) -> (u32, u32) {
    std::fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    replace_file(disk, path, |_| true, content).await.unwrap();
    assert_eq!(disk.read(path).unwrap(), content);
    let mode = |path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    (mode(path.to_path_buf()), mode(backup_of(path)))
}

#[tokio::test]
async fn a_file_that_is_replaced_keeps_its_access_rights() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("plain_acl.yml");
    let disk = Env::os().disk;
    disk.write(&path, b"old secrets").unwrap();
    assert_eq!(replaced(&*disk, &path, 0o640, b"new secrets").await, (0o640, 0o640));
    // By its own rights the side file could not be written, which root does not notice: the bit is what shows it.
    assert_eq!(replaced(&*disk, &path, 0o440, b"newer secrets").await, (0o640, 0o440));
    assert_eq!(replaced(&*disk, &path, 0o400, b"newest secrets").await, (0o600, 0o400));
}
