//! Key files: made once, readable only by their owner.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};

/// Why a key file gives no bytes.
#[derive(Debug, thiserror::Error)]
pub enum KeyFileError {
    /// The file cannot be read or written.
    #[error("the key file {} cannot be {doing}: {source}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// `read` or `created`.
        doing: &'static str,
        /// What the system says.
        source: io::Error,
    },
    /// Others than its owner may read the file.
    #[error("the key file {} is open to others (mode {mode:o}); run `chmod 600` on it", .path.display())]
    Exposed {
        /// The file.
        path: PathBuf,
        /// Its permission bits.
        mode: u32,
    },
}

/// The bytes of the key file at `path`; when there is none, it is made (mode 0600) with the bytes of `make`. Of several
/// processes that start at once, all get the same bytes.
///
/// # Errors
/// When the file cannot be read or made, or others may read it; or what `make` failed with.
pub fn load_or_create<E: From<KeyFileError>>(
    path: &Path,
    make: impl FnOnce() -> Result<Vec<u8>, E>,
) -> Result<Vec<u8>, E> {
    let failed = |doing| move |source| KeyFileError::File { path: path.to_owned(), doing, source };
    if !path.exists() {
        create(path, &make()?).map_err(failed("created"))?;
    }
    let mut file = File::open(path).map_err(failed("read"))?;
    let mode = file.metadata().map_err(failed("read"))?.mode() & 0o777;
    if mode & 0o077 != 0 {
        return Err(KeyFileError::Exposed { path: path.to_owned(), mode }.into());
    }
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes).map_err(failed("read"))?;
    Ok(bytes)
}

/// Writes beside the wanted place and links it there, so that nobody ever sees half a key and the first one wins.
fn create(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let draft = path.with_extension(format!("{}.new", std::process::id()));
    let _ = fs::remove_file(&draft);
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&draft)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    let linked = match fs::hard_link(&draft, path) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        other => other,
    };
    fs::remove_file(&draft)?;
    linked
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn a_file_is_made_once_and_only_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("keys/some.key");
        let load = |bytes: &[u8]| load_or_create::<KeyFileError>(&path, || Ok(bytes.to_vec()));
        assert_eq!(load(b"first").unwrap(), b"first");
        assert_eq!(load(b"second").unwrap(), b"first");
        assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(path.parent().unwrap()).unwrap().count(), 1, "no draft is left behind");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
        assert!(matches!(load(b"third"), Err(KeyFileError::Exposed { mode: 0o644, .. })));
    }
}
