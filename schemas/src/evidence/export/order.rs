//! Members of an export that another program packed: their names, and their order.

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// The name of a member as this program knows it: tools like to put `./` before it.
pub(super) fn known(path: &Path) -> Option<String> {
    let text = path.to_str()?;
    let text = text.strip_prefix("./").unwrap_or(text);
    // Never out of the folder that it is unpacked into.
    let plain = |part: &str| !part.is_empty() && part != "." && part != "..";
    (text.split('/').all(plain) && text.len() < 200).then(|| text.to_owned())
}

/// Unpacks the files of a tar file below a folder; then they are there in order.
///
/// # Errors
/// When the file cannot be read, or a file not be written.
pub fn unpack(tar: impl Read, folder: &Path) -> io::Result<Vec<(String, PathBuf)>> {
    let mut files = Vec::new();
    for (number, entry) in tar::Archive::new(tar).entries()?.enumerate() {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = known(&entry.path()?).ok_or_else(|| io::Error::other("a member with a strange name"))?;
        let path = folder.join(number.to_string());
        io::copy(&mut entry, &mut File::create(&path)?)?;
        files.push((name, path));
    }
    files.sort();
    Ok(files)
}
