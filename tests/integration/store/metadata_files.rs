//! Metadata files that are replaced: whatever operation a crash follows, a start reads the old
//! content or the new one, and may then crash as well.

use std::convert::Infallible;
use std::sync::Weak;

use mq_store::metadata_file::{load_metadata, settle_metadata, store_metadata};
use mq_tests::crash::stage::run;
use staticfire_world::disk::DiskImage;

use super::*;

const PATH: &str = "/machine/store/config/consumerOffset.json";

/// Makes a file's content something else.
type Damage = fn(&[u8]) -> Vec<u8>;

/// The file's `version`-th content, the shorter the later, so that left-over bytes would show.
fn content(version: usize) -> Vec<u8> {
    let queues: Vec<String> =
        (0..400 / version).map(|queue| format!("{queue}:{version}")).collect();
    format!("{{\"offsetTable\":{{\"T@G\":{{{}}}}}}}", queues.join(",")).into_bytes()
}

/// Writes `versions` one after the other; per micro-operation the image and how many were written.
fn filmed(disk: &Arc<SimDisk>, versions: Range<usize>) -> Vec<(DiskImage, usize)> {
    let points = Arc::new(Mutex::new(Vec::new()));
    let written = Arc::new(AtomicU64::new(versions.start as u64 - 1));
    let weak: Weak<SimDisk> = Arc::downgrade(disk);
    let (camera, count) = (Arc::clone(&points), Arc::clone(&written));
    disk.observe_micro_ops(Some(Arc::new(move |_, _| {
        let image = weak.upgrade().unwrap().image();
        camera.lock().unwrap().push((image, count.load(Ordering::Relaxed) as usize));
    })));
    run(async {
        let handle = disk.handle("broker");
        for version in versions {
            store_metadata(&*handle, Path::new(PATH), &content(version)).await.unwrap();
            written.store(version as u64, Ordering::Relaxed);
        }
    });
    disk.observe_micro_ops(None);
    std::mem::take(&mut *points.lock().unwrap())
}

/// The version that a start on `disk` reads; 0 for none.
fn version_read(disk: &Arc<SimDisk>) -> usize {
    let parse = |bytes: &[u8]| (1..9).find(|it| content(*it) == bytes).ok_or("torn");
    let handle = disk.handle("restarted");
    load_metadata(&*handle, Path::new(PATH), parse).unwrap().unwrap_or(0)
}

/// What a crash at a point leaves: after a kill, some power losses, and the worst one.
fn crashed(image: &DiskImage, seeds: Range<u64>) -> Vec<(String, Arc<SimDisk>)> {
    let worst = image.after_kill();
    worst.power_loss_worst();
    let cuts = seeds.map(|seed| {
        let (disk, report) = image.after_power_loss(&mut Rng::from_seed(seed).stream("cut"));
        (format!("power loss {seed}, {report}"), disk)
    });
    let mut disks: Vec<_> = cuts.collect();
    disks.push(("kill".to_owned(), image.after_kill()));
    disks.push(("worst power loss".to_owned(), worst));
    disks
}

fn new_store(seed: u64) -> Arc<SimDisk> {
    let disk = new_disk(seed);
    disk.handle("setup").create_dir_all(Path::new("/machine/store")).unwrap();
    disk.settle();
    disk
}

#[test]
fn a_crash_at_any_point_leaves_the_old_or_the_new_content() {
    let points = filmed(&new_store(1), 1..6);
    assert!(points.len() > 5 * 6, "{} points", points.len());
    for (number, (image, written)) in points.iter().enumerate() {
        for (what, disk) in crashed(image, 0..8) {
            let read = version_read(&disk);
            let is_one = (*written..=written + 1).contains(&read);
            assert!(is_one, "operation {number}, {what}: {read}, where {written} was written");
        }
    }
}

#[test]
fn a_crash_while_the_file_is_replaced_after_a_crash_leaves_one_as_well() {
    for (number, (image, _)) in filmed(&new_store(2), 1..4).iter().enumerate() {
        for (what, disk) in crashed(image, 0..2) {
            let before = version_read(&disk);
            let dir = Path::new(PATH).parent().unwrap();
            run(settle_metadata(&*disk.handle("restarted"), dir)).unwrap();
            for (image, written) in filmed(&disk, 5..7) {
                for (again, disk) in crashed(&image, 0..2) {
                    let read = version_read(&disk);
                    let least = if written < 5 { before } else { written };
                    let is_one = read == least || read == written + 1;
                    assert!(is_one, "operation {number}, {what}; then {again}: {before}, {read}");
                }
            }
        }
    }
}

#[test]
fn a_damaged_file_costs_one_version_and_no_crash_costs_the_other() {
    let damages: [Damage; 4] = [
        |_| Vec::new(),
        |whole| vec![0; whole.len()],
        |whole| whole[..whole.len() / 2].to_vec(),
        |whole| [&whole[..whole.len() / 2], &vec![0; whole.len() / 2]].concat(),
    ];
    for damage in damages {
        let disk = new_store(3);
        filmed(&disk, 1..3);
        disk.handle("damage").write(Path::new(PATH), &damage(&content(2))).unwrap();
        disk.settle();
        assert_eq!(version_read(&disk), 1);
        for (image, written) in filmed(&disk, 3..5) {
            for (what, disk) in crashed(&image, 0..4) {
                let read = version_read(&disk);
                let least = if written < 3 { 1 } else { written };
                assert!(read == least || read == written + 1, "{what}: {read} of {written}");
            }
        }
    }
}

/// A file that is sound as JSON, whatever wrote it, is kept as the backup as it is.
#[test]
fn a_file_of_java_is_read_and_becomes_the_backup() {
    let disk = new_store(4);
    let handle = disk.handle("java");
    let java = b"{\n\t\"offsetTable\":{1:21,2:2,3:1\n\t}\n}";
    handle.create_dir_all(Path::new("/machine/store/config")).unwrap();
    handle.write(Path::new(PATH), java).unwrap();
    run(store_metadata(&*handle, Path::new(PATH), &content(1))).unwrap();
    let keep = |bytes: &[u8]| Ok::<_, Infallible>(bytes.to_vec());
    assert_eq!(load_metadata(&*handle, Path::new(PATH), keep).unwrap(), Some(content(1)));
    handle.remove(Path::new(PATH)).unwrap();
    assert_eq!(load_metadata(&*handle, Path::new(PATH), keep).unwrap().unwrap(), java);
}
