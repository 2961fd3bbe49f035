//! Micro-operations and images.

use std::collections::BTreeSet;
use std::sync::{Mutex, Weak};

use super::*;
use crate::disk::{DiskImage, MicroOp};

/// A little of everything.
async fn exercise(disk: &Arc<SimDisk>) {
    let handle = disk.handle("a");
    handle.create_dir_all(Path::new("/store/log")).unwrap();
    handle.sync(Path::new("/")).await.unwrap();
    let region = handle.map(Path::new("/store/log/0"), 3 * PAGE_SIZE).unwrap();
    handle.write(Path::new("/store/c.tmp"), b"config").unwrap();
    region.write(PAGE_SIZE - 2, b"over the edge");
    handle.flush(&region, 0..100).await.unwrap();
    region.write(PAGE_SIZE + 50, b"behind");
    handle.rename(Path::new("/store/c.tmp"), Path::new("/store/c")).unwrap();
    handle.write(Path::new("/store/c"), b"again").unwrap();
    handle.remove(Path::new("/store/c")).unwrap();
}

/// All images of one run, the first before anything happened.
fn images(seed: u64) -> (Vec<DiskImage>, Vec<MicroOp>) {
    let disk = SimDisk::new(
        SimDiskConfig::default(),
        Arc::new(HandClock::default()),
        Rng::from_seed(seed),
    );
    let taken = Arc::new(Mutex::new((vec![disk.image()], Vec::new())));
    let (camera, subject) = (Arc::clone(&taken), Weak::clone(&Arc::downgrade(&disk)));
    disk.observe_micro_ops(Some(Arc::new(move |number, op| {
        let mut taken = camera.lock().unwrap();
        assert_eq!(number, taken.0.len() as u64);
        taken.0.push(subject.upgrade().unwrap().image());
        taken.1.push(op);
    })));
    run(exercise(&disk));
    let taken = std::mem::take(&mut *taken.lock().unwrap());
    assert_eq!(disk.micro_ops(), taken.1.len() as u64);
    taken
}

#[test]
fn every_micro_operation_is_a_crash_point() {
    use MicroOp::*;
    let (images, ops) = images(1);
    let expected = [
        Create,
        Create,
        DirSync,
        Create,
        Extend,
        Create,
        FileWrite,
        RegionWrite,
        Flush,
        RegionWrite,
        Rename,
        Truncate,
        FileWrite,
        Remove,
    ];
    assert_eq!(ops, expected);
    for (before, after) in images.iter().zip(&images[1..]) {
        assert!(before != after, "each of them changed the disk");
    }
}

#[test]
fn the_same_run_gives_the_same_images() {
    assert!(images(1) == images(1));
}

#[test]
fn a_disk_made_from_an_image_is_the_disk() {
    let (images, _) = images(1);
    let log = Path::new("/store/log/0");
    let disk = images[8].after_kill();
    assert_eq!(disk.live_bytes(log, 4094..4107).unwrap(), b"over the edge");
    assert!(!disk.is_durable(log, 4094, b"ov"));
    let disk = images[9].after_kill();
    let handle = disk.handle("a");
    assert_eq!(handle.read(Path::new("/store/c.tmp")).unwrap(), b"config");
    let region = handle.map(log, 3 * PAGE_SIZE).unwrap();
    run(handle.flush(&region, 0..region.len())).unwrap();
    assert!(disk.unsynced_pages(log).is_empty());

    let disk = images[12].after_kill();
    assert_eq!(disk.handle("a").read(Path::new("/store/c")).unwrap(), b"", "between cut and write");
    assert!(!disk.image().after_kill().exists(Path::new("/store/c.tmp")));
}

#[test]
fn power_loss_of_an_image_is_power_loss_of_the_disk() {
    for seed in 0..30 {
        let build = || {
            let disk = disk();
            run(exercise(&disk));
            disk
        };
        let (real, copy) = (build(), build());
        let (found, report) = copy.image().after_power_loss(&mut stream(seed));
        assert_eq!(real.power_loss(&mut stream(seed)), report);
        assert_eq!(real.paths(), found.paths());
        for path in real.paths() {
            let read = |disk: &Arc<SimDisk>| disk.handle("a").read(&path).unwrap();
            assert_eq!(read(&real), read(&found), "{}", path.display());
        }
        assert!(copy.exists(Path::new("/store/log/0")), "the pictured disk goes on");
    }
}

/// Chosen one after the other, the outcomes of a cut are all there are: any of the sectors that differ.
#[test]
fn every_outcome_of_a_power_loss_can_be_chosen() {
    run(async {
        let disk = disk();
        let handle = disk.handle("a");
        let region = durable_file(&handle, "/log", 2).await;
        region.write(0, &[7; 600]);
        region.write(PAGE_SIZE + 100, &[7]);
        let image = disk.image();
        let mut found = BTreeSet::new();
        for which in 0..8 {
            let disk = image.after_kill();
            let mut offered = Vec::new();
            let mut choices = [0, which % 4, which / 4].into_iter();
            disk.power_loss_by(&mut |options| {
                offered.push(options);
                choices.next().unwrap()
            });
            assert_eq!(offered, [1, 4, 2], "journal, first page, second page");
            assert_eq!(disk.image().digest(), disk.image().after_kill().image().digest());
            let bytes = disk.durable_bytes(Path::new("/log"), 0..8192).unwrap();
            found.insert([0, 511, 512, 599, 600, 4196].map(|at| bytes[at]));
        }
        let expected = [[0, 0], [7, 0], [0, 7], [7, 7]]
            .map(|[first, second]| [0, 7].map(|third| [first, first, second, second, 0, third]));
        assert_eq!(found, expected.into_iter().flatten().collect());
    });
}
