//! Packed fixtures: gzip and tar.

use std::io::Read as _;

use flate2::read::GzDecoder;

/// The bytes of a gzip file.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn gunzip(compressed: &[u8]) -> Vec<u8> {
    let mut plain = Vec::new();
    GzDecoder::new(compressed).read_to_end(&mut plain).unwrap();
    plain
}

/// The regular files of a tar archive. Of a sparse one, whose data is at its front, without the zeros.
///
/// # Panics
/// When it is none.
#[must_use]
pub fn untar(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let text = |field: &[u8]| {
        let end = field.iter().position(|byte| *byte == 0).unwrap_or(field.len());
        String::from_utf8(field[..end].to_vec()).unwrap()
    };
    let (mut files, mut at, mut long_name) = (Vec::new(), 0, None);
    while archive.get(at).is_some_and(|byte| *byte != 0) {
        let header = &archive[at..at + 512];
        let size = usize::from_str_radix(text(&header[124..136]).trim(), 8).unwrap();
        let content = &archive[at + 512..at + 512 + size];
        match header[156] {
            b'0' => {
                let (prefix, name) = (text(&header[345..500]), text(&header[..100]));
                let short = if prefix.is_empty() { name } else { format!("{prefix}/{name}") };
                files.push((long_name.take().unwrap_or(short), content.to_vec()));
            }
            b'S' => files.push((text(&header[..100]), content.to_vec())),
            b'x' => long_name = pax_path(content),
            _ => {}
        }
        at += 512 + size.next_multiple_of(512);
    }
    files
}

/// The `path` of a pax header: lines of `length key=value`.
fn pax_path(header: &[u8]) -> Option<String> {
    let text = String::from_utf8_lossy(header).into_owned();
    text.lines().find_map(|line| line.split_once(" path=").map(|(_, path)| path.to_owned()))
}
