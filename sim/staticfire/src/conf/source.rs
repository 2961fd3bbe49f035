//! [`DirectorySource`]: the files of a cluster directory, before they mean anything.

use std::io;
use std::net::IpAddr;
use std::path::Path;

use mq_protocol::properties_file::PropertiesFile;

use crate::conf::finding::{Finding, FindingKind, Place};

const SUFFIX: &str = ".properties";
const HOSTS: &str = "hosts";
pub(super) const PLACEMENT: &str = "placement";

/// The files of a cluster directory.
#[derive(Clone, Debug, Default)]
pub struct DirectorySource {
    /// Name and bytes of every `.properties` file, by stem.
    pub properties: Vec<(String, Vec<u8>)>,
    /// The text of `hosts`.
    pub hosts: Option<String>,
    /// The text of `placement`.
    pub placement: Option<String>,
}

/// A `.properties` file.
pub(super) struct ParsedFile {
    pub(super) name: String,
    pub(super) stem: String,
    pub(super) properties: PropertiesFile,
}

impl DirectorySource {
    /// Reads a directory; subdirectories and files of other names are left alone.
    ///
    /// # Errors
    /// One finding when something cannot be read or there is no `.properties` file.
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
            if !is_hosts && name != PLACEMENT && !name.ends_with(SUFFIX) {
                continue;
            }
            let bytes = read(&path).map_err(|error| unreadable(&path, error))?;
            if is_hosts {
                source.hosts = Some(String::from_utf8_lossy(&bytes).into_owned());
            } else if name == PLACEMENT {
                source.placement = Some(String::from_utf8_lossy(&bytes).into_owned());
            } else {
                source.properties.push((name, bytes));
            }
        }
        if source.properties.is_empty() {
            let name = dir.display().to_string();
            let text = format!("{name} has no {SUFFIX} file");
            let place = Place::of_file(&name, format!("one {SUFFIX} file per broker is expected"));
            return Err(vec![Finding::error(FindingKind::Unreadable, text, vec![place])]);
        }
        Ok(source)
    }

    /// The files that Java could read; an error for each other one.
    pub(super) fn parse_files(&self, findings: &mut Vec<Finding>) -> Vec<ParsedFile> {
        let mut files = Vec::new();
        for (name, bytes) in &self.properties {
            match PropertiesFile::parse(bytes) {
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

/// The name of a `.properties` file without its suffix.
pub(super) fn stem(name: &str) -> &str {
    name.strip_suffix(SUFFIX).unwrap_or(name)
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
    // By stem, so that `broker-a` comes before `broker-a-s`.
    names.sort_by(|one, two| stem(one).cmp(stem(two)));
    Ok(names)
}

#[expect(clippy::disallowed_methods, reason = "the user's file, not a simulated one")]
fn read(path: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(path)
}
