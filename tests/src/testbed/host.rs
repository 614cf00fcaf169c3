//! What this machine allows: rights, the service user, PostgreSQL's programs, control groups.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use super::cgroup::Hierarchy;

/// Oldest PostgreSQL that writes JSON logs.
const MAJOR_MIN: u32 = 15;

/// The facts that decide how nodes are built.
#[derive(Clone, Debug)]
pub struct Host {
    /// Whether we may mount, make control groups and change users.
    pub root: bool,
    /// The user whom databases, agents and aggregator run as: `postgres`, or ourselves without root.
    pub user: User,
    /// Folder of `postgres`, `initdb`, `pgbench`, `psql`.
    pub pg_bin: PathBuf,
    /// Where control groups can be made, if anywhere.
    pub hierarchy: Option<Hierarchy>,
}

/// A line of `/etc/passwd`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User id.
    pub uid: u32,
    /// Group id.
    pub gid: u32,
}

impl Host {
    /// Looks around.
    ///
    /// # Errors
    /// When no PostgreSQL of a fitting version or no user to run it is there.
    pub fn find() -> Result<Self> {
        let uid = rustix::process::geteuid();
        let root = uid.is_root();
        let passwd = std::fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
        let user = users(&passwd)
            .find(|user| {
                if root {
                    user.name == "postgres"
                } else {
                    user.uid == uid.as_raw()
                }
            })
            .context("no user to run PostgreSQL as; install it: apt-get install postgresql")?;
        let pg_bin = newest(Path::new("/usr/lib/postgresql")).with_context(|| {
            format!("no PostgreSQL {MAJOR_MIN} or newer below /usr/lib/postgresql; install it: apt-get install postgresql postgresql-contrib")
        })?;
        let hierarchy = if root { Hierarchy::find() } else { None };
        Ok(Self {
            root,
            user,
            pg_bin,
            hierarchy,
        })
    }

    /// The service user alone, for runs that start no database of their own.
    ///
    /// # Errors
    /// When `/etc/passwd` does not know us.
    pub fn without_postgres() -> Result<Self> {
        let uid = rustix::process::geteuid();
        let passwd = std::fs::read_to_string("/etc/passwd").context("read /etc/passwd")?;
        let user = users(&passwd)
            .find(|user| user.uid == uid.as_raw())
            .context("find ourselves in /etc/passwd")?;
        Ok(Self {
            root: uid.is_root(),
            user,
            pg_bin: PathBuf::new(),
            hierarchy: None,
        })
    }
}

fn users(passwd: &str) -> impl Iterator<Item = User> + '_ {
    passwd.lines().filter_map(|line| {
        let mut fields = line.split(':');
        let name = fields.next()?.to_owned();
        let uid = fields.nth(1)?.parse().ok()?;
        Some(User {
            name,
            uid,
            gid: fields.next()?.parse().ok()?,
        })
    })
}

fn newest(root: &Path) -> Option<PathBuf> {
    let versions = std::fs::read_dir(root).ok()?.flatten();
    let major = versions
        .filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok())
        .filter(|major| *major >= MAJOR_MIN)
        .filter(|major| root.join(major.to_string()).join("bin/postgres").exists())
        .max()?;
    Some(root.join(major.to_string()).join("bin"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_user_is_found_by_its_line() {
        let line =
            "postgres:x:101:104:PostgreSQL administrator,,,:/var/lib/postgresql:/bin/bash\nbad\n";
        let found: Vec<User> = users(line).collect();
        assert_eq!(
            found,
            vec![User {
                name: "postgres".to_owned(),
                uid: 101,
                gid: 104
            }]
        );
    }

    #[test]
    fn the_newest_fitting_version_is_taken() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["13", "15", "16", "common"] {
            std::fs::create_dir_all(dir.path().join(version).join("bin")).unwrap();
            std::fs::write(dir.path().join(version).join("bin/postgres"), "").unwrap();
        }
        assert_eq!(newest(dir.path()), Some(dir.path().join("16/bin")));
        assert_eq!(newest(Path::new("/nonexistent")), None);
    }
}
