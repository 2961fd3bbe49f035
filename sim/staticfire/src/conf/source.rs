//! [`DirectorySource`]: the files of a cluster directory, before they mean anything.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use mq_broker::config::Severity;
use mq_protocol::properties_file::PropertiesFile;

use crate::conf::finding::{Finding, FindingKind, Place};

/// What the name of a broker's file may end in; where two files have one stem, the first is read.
const SUFFIXES: [&str; 2] = [".properties", ".conf"];
const HOSTS: &str = "hosts";
pub(super) const PLACEMENT: &str = "placement";

/// The files of a cluster directory.
#[derive(Clone, Debug, Default)]
pub struct DirectorySource {
    /// Name and bytes of every `.properties` and `.conf` file, by stem.
    pub properties: Vec<(String, Vec<u8>)>,
    /// The text of `hosts`.
    pub hosts: Option<String>,
    /// The text of `placement`.
    pub placement: Option<String>,
}

/// A broker's file.
pub(super) struct ParsedFile {
    pub(super) name: String,
    pub(super) stem: String,
    pub(super) properties: PropertiesFile,
}

impl DirectorySource {
    /// Reads a directory; subdirectories and files of other names are left alone.
    ///
    /// # Errors
    /// One finding when something cannot be read or there is no broker's file.
    pub fn read(dir: &Path) -> Result<DirectorySource, Vec<Finding>> {
        let unreadable = |path: &Path, error: io::Error| {
            let text = format!("{} cannot be read", path.display());
            let place = Place::of_file(&path.display().to_string(), error.to_string());
            vec![Finding::error(FindingKind::Unreadable, text, vec![place])]
        };
        let mut source = DirectorySource::default();
        for name in list(dir).map_err(|error| unreadable(dir, error))? {
            let path = dir.join(&name);
            let is_hosts = name == HOSTS;
            if !is_hosts && name != PLACEMENT && stem(&name) == name {
                continue;
            }
            let bytes = read(&path).map_err(|error| unreadable(&path, error))?;
            let text = || String::from_utf8_lossy(&bytes).trim_start_matches('\u{feff}').to_owned();
            if is_hosts {
                source.hosts = Some(text());
            } else if name == PLACEMENT {
                source.placement = Some(text());
            } else {
                source.properties.push((name, bytes));
            }
        }
        if source.properties.is_empty() {
            let name = dir.display().to_string();
            let text = format!("{name} has no .properties and no .conf file");
            let place = Place::of_file(&name, "one such file per broker is expected");
            return Err(vec![Finding::error(FindingKind::Unreadable, text, vec![place])]);
        }
        Ok(source)
    }

    /// The files that Java could read; an error for each other one.
    pub(super) fn parse_files(&self, findings: &mut Vec<Finding>) -> Vec<ParsedFile> {
        let mut files: Vec<ParsedFile> = Vec::new();
        for (name, bytes) in &self.properties {
            let first = self.properties.iter().find(|(other, _)| stem(other) == stem(name));
            if let Some((first, _)) = first.filter(|(first, _)| first != name) {
                findings.push(not_read(name, format!("{name} is not read: {first} is")));
                continue;
            }
            if matches!(bytes.get(..2), Some([0xFF, 0xFE] | [0xFE, 0xFF])) {
                findings.push(in_utf_16(name));
                continue;
            }
            match PropertiesFile::parse(bytes) {
                Ok(properties) if is_of_other_program(name, &properties) => {
                    let why = format!("{name} is not read: it has no key of a broker's identity");
                    findings.push(not_read(name, why));
                }
                Ok(properties) => {
                    let (name, stem) = (name.clone(), stem(name).to_owned());
                    files.push(ParsedFile { name, stem, properties });
                }
                Err(error) => {
                    let line = bytes.split(|byte| *byte == b'\n').nth(error.line() - 1);
                    let line = String::from_utf8_lossy(line.unwrap_or_default()).into_owned();
                    let place = Place::of_line(name, error.line(), line.trim_end());
                    let text = format!("{name} cannot be read as Java properties");
                    findings.push(
                        Finding::error(FindingKind::Unreadable, text, vec![place])
                            .allowed("\\u with four hexadecimal digits; \\\\ for a backslash")
                            .upstream("exit with status -1"),
                    );
                }
            }
        }
        if files.is_empty() && findings.iter().all(|it| it.severity != Severity::Error) {
            let places = findings.iter().map(|finding| finding.places[0].clone()).collect();
            let text = "no file of a broker is among these";
            findings.push(Finding::error(FindingKind::Unreadable, text, places));
        }
        files
    }

    /// Names and addresses of `hosts`. The first line of a name wins.
    pub(super) fn parse_hosts(&self, findings: &mut Vec<Finding>) -> Vec<(String, IpAddr)> {
        let mut hosts: Vec<(String, IpAddr)> = Vec::new();
        for (line, words) in lines_of_words(self.hosts.as_deref()) {
            let place = || vec![Place::of_line(HOSTS, line, &words.join(" "))];
            let Ok(address) = words[0].parse::<IpAddr>() else {
                let text = format!("{:?} is no address", words[0]);
                let finding = Finding::error(FindingKind::Hosts, text, place());
                findings.push(finding.allowed("an address, then host names"));
                continue;
            };
            for name in &words[1..] {
                match hosts.iter().find(|(earlier, _)| earlier == name) {
                    Some((_, earlier)) if *earlier != address => findings.push(Finding::warning(
                        FindingKind::Hosts,
                        format!("{name} has the address {earlier} already, which is used"),
                        place(),
                    )),
                    Some(_) => {}
                    None => hosts.push(((*name).to_owned(), address)),
                }
            }
        }
        hosts
    }

    /// The lines of `placement`: line number, address or host name, stems.
    pub(super) fn placement_lines(&self) -> impl Iterator<Item = (usize, Vec<&str>)> {
        lines_of_words(self.placement.as_deref())
    }
}

/// The name of a broker's file without its suffix.
pub(super) fn stem(name: &str) -> &str {
    SUFFIXES.iter().find_map(|suffix| name.strip_suffix(suffix)).unwrap_or(name)
}

/// Many programs have `.conf` files: a broker's says whose it is.
fn is_of_other_program(name: &str, properties: &PropertiesFile) -> bool {
    const IDENTITY: [&str; 6] = [
        "brokerName",
        "brokerId",
        "brokerRole",
        "brokerClusterName",
        "namesrvAddr",
        "flushDiskType",
    ];
    name.ends_with(SUFFIXES[1]) && IDENTITY.iter().all(|key| properties.get(key).is_none())
}

fn not_read(name: &str, text: String) -> Finding {
    Finding::warning(FindingKind::NotRead, text, vec![Place::of_file(name, "")])
}

fn in_utf_16(name: &str) -> Finding {
    let text = format!("{name} is written in UTF-16");
    let place = Place::of_file(name, "begins with the byte order mark of UTF-16");
    Finding::error(FindingKind::Unreadable, text, vec![place])
        .allowed("ISO-8859-1, or UTF-8 in comments")
        .upstream("find none of its keys")
}

/// The words of every line that is neither empty nor a comment, with its number.
fn lines_of_words(text: Option<&str>) -> impl Iterator<Item = (usize, Vec<&str>)> {
    (1..).zip(text.unwrap_or_default().lines()).filter_map(|(number, line)| {
        let before_comment = line.split('#').next().unwrap_or_default();
        let words: Vec<&str> = before_comment.split_whitespace().collect();
        (!words.is_empty()).then_some((number, words))
    })
}

/// The names in a directory, sorted.
#[expect(clippy::disallowed_methods, reason = "the user's directory, not a simulated one")]
fn list(dir: &Path) -> io::Result<Vec<String>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.path().is_file() {
            names.push(entry.file_name().to_string_lossy().into_owned());
        }
    }
    // By stem, so that `broker-a` comes before `broker-a-s`; of one stem `.properties` first.
    names.sort_by_key(|name| (stem(name).to_owned(), name.ends_with(SUFFIXES[1])));
    Ok(names)
}

#[expect(clippy::disallowed_methods, reason = "the user's file, not a simulated one")]
fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}
