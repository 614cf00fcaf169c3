//! The log source's checkpoint: where the journal, and where the files are to be read on. (step 1)
//!
//! Bytes as the tailer writes them, before them, where the journal is read, one line `journald <cursor>`. A checkpoint of
//! before there was a journal has no such line and is read as it is.

const JOURNAL: &str = "journald ";

/// One checkpoint of both.
pub(super) fn join(cursor: Option<&str>, files: Vec<u8>) -> Vec<u8> {
    let Some(cursor) = cursor else {
        return files;
    };
    let mut bytes = format!("{JOURNAL}{cursor}\n").into_bytes();
    bytes.extend(files);
    bytes
}

/// The reverse of [`join()`].
pub(super) fn split(bytes: Vec<u8>) -> (Option<String>, Option<Vec<u8>>) {
    let Some(rest) = bytes.strip_prefix(JOURNAL.as_bytes()) else {
        return (None, Some(bytes));
    };
    let mut parts = rest.splitn(2, |&byte| byte == b'\n');
    let cursor = parts.next().unwrap_or_default();
    let cursor = String::from_utf8(cursor.to_vec()).ok();
    let files = parts.next().map(<[u8]>::to_vec);
    (cursor.filter(|cursor| !cursor.is_empty()), files)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cursor_and_files_travel_together_and_an_old_checkpoint_is_only_files() {
        let files = b"hsw-tail 1\n".to_vec();
        assert_eq!(split(files.clone()), (None, Some(files.clone())));
        let both = join(Some("s=1;i=2"), files.clone());
        assert_eq!(
            split(both),
            (Some("s=1;i=2".to_owned()), Some(files.clone()))
        );
        assert_eq!(join(None, files.clone()), files);
        let torn = b"journald ".to_vec();
        assert_eq!(split(torn), (None, None));
    }
}
