//! Creates a secret file.

use std::{
    fs::{self, File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
};

use uuid::Uuid;

use super::SecretFile;
use crate::secret::{Failure, Secret, random_bytes};

impl SecretFile {
    /// A file that this service may create.
    pub(in crate::secret) fn generated(path: PathBuf) -> Self {
        Self {
            path,
            is_named: false,
        }
    }

    pub(in crate::secret) fn path(&self) -> &Path {
        &self.path
    }

    /// The secret, in a file that is created if it does not exist. If several processes do this concurrently, one of them creates it.
    pub(in crate::secret) fn read_or_make(&self) -> Result<Secret, Failure> {
        if let Some(secret) = self.read()? {
            return Ok(secret);
        }
        self.make()?;
        let made = self.read()?;
        made.ok_or_else(|| "it is a link to a file that is not there".into())
    }

    /// Links a complete file, already on the disk, into place, unless another process has created one in the meantime.
    fn make(&self) -> Result<(), Failure> {
        let digits = random_bytes()?.map(|byte| format!("{byte:02x}"));
        let mut draft = self.path.as_os_str().to_owned();
        draft.push(format!(".{}", Uuid::new_v4()));
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let mut file = options.open(&draft)?;
        let written = file
            .write_all(format!("{}\n", digits.concat()).as_bytes())
            .and_then(|()| file.sync_all())
            .and_then(|()| match fs::hard_link(&draft, &self.path) {
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
                linked => linked,
            });
        let removed = fs::remove_file(&draft);
        written.and(removed)?;
        self.sync_folder()?;
        Ok(())
    }

    /// After a power cut the database requires the file, so the file must be on the disk first.
    #[cfg(unix)]
    fn sync_folder(&self) -> io::Result<()> {
        let folder = match self.path.parent() {
            Some(folder) if folder != Path::new("") => folder,
            _ => Path::new("."),
        };
        File::open(folder)?.sync_all()
    }

    #[cfg(not(unix))]
    fn sync_folder(&self) -> io::Result<()> {
        Ok(())
    }
}
