//! What an operator installs: units, container file, pod, example configurations; held to the programs that they start.
//!
//! Needs the release build (or its folder in `HSW_BIN_DIR`) and `systemd-analyze`.

#![expect(
    clippy::unwrap_used,
    reason = "a test file: helpers fail the test by panicking"
)]

use std::fs;
use std::os::unix::net::UnixDatagram;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use hsw_types::NodeId;
use tempfile::TempDir;

/// Worst exposure a unit may have, of 10 (`systemd-analyze security`).
const EXPOSURE_MAX: f64 = 2.5;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn read(path: &str) -> String {
    fs::read_to_string(root().join(path)).unwrap_or_else(|why| panic!("{path}: {why}"))
}

fn program(name: &str) -> PathBuf {
    let folder = std::env::var_os("HSW_BIN_DIR")
        .map_or_else(|| root().join("target/release"), PathBuf::from);
    let path = folder.join(name);
    assert!(
        path.is_file(),
        "no {}; build it: cargo build --release --locked --workspace --bins (or set HSW_BIN_DIR)",
        path.display()
    );
    path.canonicalize().unwrap()
}

fn run(command: &mut Command) -> Output {
    command
        .output()
        .unwrap_or_else(|why| panic!("{command:?}: {why}; install what tests/run installs"))
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

/// Value of the only line `KEY=…` of a unit.
fn setting<'a>(unit: &'a str, key: &str) -> &'a str {
    let start = format!("{key}=");
    let mut lines = unit.lines().filter_map(|line| line.strip_prefix(&start));
    let value = lines.next().unwrap_or_else(|| panic!("no {key}="));
    assert!(lines.next().is_none(), "{key}= stands twice");
    value
}

const UNITS: [&str; 2] = ["hsw-agent", "hsw-aggregator"];

#[test]
fn the_units_are_well_formed_and_confined() {
    let dir = tempfile::tempdir().unwrap();
    for name in UNITS {
        let installed = format!("/usr/bin/{name} ");
        let unit = read(&format!("deploy/systemd/{name}.service"));
        assert!(
            unit.contains(&installed),
            "{name} is not started from /usr/bin"
        );
        let here = format!("{} ", program(name).display());
        let path = dir.path().join(format!("{name}.service"));
        fs::write(&path, unit.replace(&installed, &here)).unwrap();

        let verified = run(Command::new("systemd-analyze").arg("verify").arg(&path));
        let complaints = text(&verified.stderr);
        let ours: Vec<_> = complaints
            .lines()
            .filter(|line| line.contains(name))
            .collect();
        assert!(verified.status.success() && ours.is_empty(), "{complaints}");

        let judged = run(Command::new("systemd-analyze")
            .args(["security", "--no-pager", "--offline=true"])
            .arg(&path));
        let judged = text(&judged.stdout);
        let exposure = judged
            .lines()
            .find(|line| line.contains("Overall exposure level"))
            .and_then(|line| {
                line.split(": ")
                    .nth(1)?
                    .split(' ')
                    .next()?
                    .parse::<f64>()
                    .ok()
            });
        assert!(
            exposure.is_some_and(|level| level <= EXPOSURE_MAX),
            "{name}: {exposure:?}\n{judged}"
        );
    }
}

#[test]
fn the_units_start_what_exists_and_write_where_the_defaults_say() {
    for (name, key) in [("hsw-agent", "state_dir"), ("hsw-aggregator", "data_dir")] {
        let unit = read(&format!("deploy/systemd/{name}.service"));
        assert_eq!(setting(&unit, "Type"), "notify");
        assert_eq!(setting(&unit, "Restart"), "on-failure");
        assert_eq!(setting(&unit, "RestartPreventExitStatus"), "78");
        for start in ["ExecStartPre", "ExecStart"] {
            let mut words = setting(&unit, start).split(' ').skip(1);
            let words: Vec<_> = words
                .by_ref()
                .take_while(|word| !word.starts_with('-'))
                .collect();
            let known = run(Command::new(program(name)).args(&words).arg("--help"));
            assert!(known.status.success(), "{name} {words:?}");
        }
        let default = run(Command::new(program(name)).args(["config", "default"]));
        let default: toml::Table = text(&default.stdout).parse().unwrap();
        let folder = format!("/var/lib/{}", setting(&unit, "StateDirectory"));
        assert_eq!(default[key].as_str(), Some(folder.as_str()), "{name}");
        // A credential that is not there keeps a unit from starting, and no default asks for one.
        assert!(
            !unit.lines().any(|line| line.starts_with("LoadCredential=")),
            "{name}"
        );
    }
}

#[test]
fn the_example_configurations_are_what_the_programs_print_and_accept() {
    for (name, file) in [
        ("hsw-agent", "deploy/config/agent.toml"),
        ("hsw-aggregator", "deploy/config/aggregator.toml"),
    ] {
        let printed = run(Command::new(program(name)).args(["config", "default"]));
        assert_eq!(
            text(&printed.stdout),
            read(file),
            "write it anew: {name} config default >{file}"
        );
        let checked = run(Command::new(program(name))
            .args(["config", "check", "--config"])
            .arg(root().join(file)));
        assert!(checked.status.success(), "{}", text(&checked.stderr));
    }
}

/// Certificates and configuration of one program, in a folder of its own.
fn world(name: &str, listen: &str) -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().display();
    let (authority, certs) = (dir.path().join("ca"), dir.path().join("certs"));
    hsw_shell::cert::init(&authority).unwrap();
    hsw_shell::cert::issue(&authority, &NodeId::new("n").unwrap(), &[], &certs).unwrap();
    let tls = format!(
        "[tls]\ncert = \"{at}/certs/n.crt\"\nkey = \"{at}/certs/n.key\"\nca = \"{at}/certs/ca.crt\"\n"
    );
    let text = match name {
        "hsw-agent" => format!(
            "node = \"n\"\nstate_dir = \"{at}\"\n[aggregator]\naddress = \"{listen}\"\n{tls}[postgres]\nhost = \"127.0.0.1\"\nport = 9\n"
        ),
        _ => format!(
            "data_dir = \"{at}\"\nlisten = \"{listen}\"\nweb = \"127.0.46.20:18180\"\n{tls}"
        ),
    };
    let path = dir.path().join("config.toml");
    fs::write(&path, text).unwrap();
    (dir, path)
}

/// Receives until a datagram has this line.
fn hear(socket: &UnixDatagram, line: &str) -> Duration {
    let began = Instant::now();
    let mut heard = Vec::new();
    let mut buffer = [0; 4096];
    while began.elapsed() < Duration::from_secs(20) {
        if let Ok(n) = socket.recv(&mut buffer) {
            let message = text(&buffer[..n]);
            if message.lines().any(|found| found == line) {
                return began.elapsed();
            }
            heard.push(message);
        }
    }
    panic!("no {line}, but {heard:?}");
}

#[test]
fn both_programs_tell_systemd_that_they_are_ready_alive_and_stopping() {
    for (name, listen) in [
        ("hsw-aggregator", "127.0.46.20:7443"),
        ("hsw-agent", "127.0.46.21:7443"),
    ] {
        let (dir, config) = world(name, listen);
        let path = dir.path().join("notify");
        let socket = UnixDatagram::bind(&path).unwrap();
        socket
            .set_read_timeout(Some(Duration::from_millis(200)))
            .unwrap();
        let mut child = Command::new(program(name))
            .args(["run", "--config"])
            .arg(&config)
            .env_clear()
            .env("NOTIFY_SOCKET", &path)
            .env("WATCHDOG_USEC", "4000000")
            .stdout(std::process::Stdio::null())
            .spawn()
            .unwrap();
        hear(&socket, "READY=1");
        hear(&socket, "WATCHDOG=1");
        let again = hear(&socket, "WATCHDOG=1");
        assert!(
            again < Duration::from_secs(4),
            "{name}: {again:?} between two signs of life"
        );
        let pid = rustix::process::Pid::from_child(&child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
        hear(&socket, "STOPPING=1");
        assert!(
            child.wait().unwrap().success(),
            "{name} does not end in order"
        );
    }
}

/// The instructions of a container file, continued lines joined.
fn instructions(file: &str) -> Vec<(String, String)> {
    let joined = file.replace("\\\n", " ");
    joined
        .lines()
        .filter(|line| !line.trim().is_empty() && !line.starts_with('#'))
        .map(|line| {
            let (word, rest) = line.split_once(' ').unwrap();
            (word.to_owned(), rest.trim().to_owned())
        })
        .collect()
}

#[test]
fn the_container_file_is_pinned_unprivileged_and_starts_what_it_holds() {
    let file = read("deploy/container/Containerfile");
    let all = instructions(&file);
    let of = |word: &'static str| {
        all.iter()
            .filter(move |(found, _)| found == word)
            .map(|(_, rest)| rest)
    };
    for base in of("ARG").filter_map(|arg| {
        arg.split_once('=')
            .filter(|(name, _)| name.starts_with("BASE"))
    }) {
        let tag = base.1.rsplit('/').next().unwrap().split_once(':');
        assert!(tag.is_some_and(|(_, tag)| tag != "latest"), "{base:?}");
    }
    for from in of("FROM") {
        assert!(
            from.starts_with("${BASE_"),
            "a base that no ARG pins: {from}"
        );
    }
    assert_eq!(
        of("ADD").count(),
        0,
        "COPY says what it does, ADD fetches and unpacks"
    );
    let user = of("USER").next_back().expect("a USER");
    let uid = user.split(':').next().unwrap().parse::<u32>();
    assert!(uid.is_ok_and(|uid| uid > 0), "USER {user}");

    let built: String = of("RUN").cloned().collect();
    for copy in of("COPY").filter(|copy| copy.contains("--from=")) {
        let words: Vec<_> = copy
            .split(' ')
            .filter(|word| !word.starts_with("--"))
            .collect();
        assert!(
            built.contains(words[0]),
            "COPY {copy}: nothing makes {}",
            words[0]
        );
    }
    let health = of("HEALTHCHECK").next().expect("a HEALTHCHECK");
    let health = health.split_once("CMD ").unwrap().1;
    for (place, line) in [
        ("HEALTHCHECK", health),
        ("ENTRYPOINT", of("ENTRYPOINT").next().unwrap()),
    ] {
        let words: Vec<String> = serde_json::from_str(line).unwrap();
        let name = words[0].strip_prefix("/usr/bin/").unwrap();
        assert!(
            built.contains(&format!("target/release/{name} ")),
            "{place}: {name} is not in the image"
        );
        let known = run(Command::new(program(name)).args(&words[1..]).arg("--help"));
        assert!(known.status.success(), "{place}: {line}");
    }
}

/// The lines of a YAML block below a key, up to the next line that is no deeper.
fn block<'a>(yaml: &'a str, key: &str) -> Vec<&'a str> {
    let depth = |line: &str| line.len() - line.trim_start().len();
    let mut lines = yaml.lines().skip_while(|line| line.trim_start() != key);
    let head = depth(lines.next().unwrap_or_else(|| panic!("no {key}")));
    lines
        .take_while(|line| line.trim().is_empty() || depth(line) > head)
        .collect()
}

#[test]
fn the_pod_runs_the_agent_as_a_confined_sidecar_of_its_whole_life() {
    let yaml = read("deploy/container/sidecar.yaml");
    assert!(!yaml.contains('\t') && !yaml.contains(":latest"));
    let sidecar = block(&yaml, "initContainers:");
    let has = |wanted: &str| {
        sidecar
            .iter()
            .any(|line| line.trim_start().trim_start_matches("- ") == wanted)
    };
    for wanted in [
        "name: hsw-agent",
        "restartPolicy: Always",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        "capabilities: {drop: [ALL]}",
    ] {
        assert!(has(wanted), "initContainers lack `{wanted}`");
    }
    assert!(
        block(&yaml, "spec:")
            .iter()
            .any(|line| line.trim() == "runAsNonRoot: true")
    );
    let limits = sidecar
        .iter()
        .find(|line| line.contains("limits:"))
        .expect("limits");
    assert!(limits.contains("memory: 64Mi"), "{limits}");

    let default = run(Command::new(program("hsw-agent")).args(["config", "default"]));
    let default: toml::Table = text(&default.stdout).parse().unwrap();
    let spool = sidecar
        .iter()
        .find(|line| line.contains("name: spool"))
        .expect("a spool");
    assert!(
        spool.contains(default["state_dir"].as_str().unwrap()),
        "{spool}"
    );
    for mount in sidecar
        .iter()
        .filter(|line| line.contains("mountPath:") && !line.contains("spool"))
    {
        assert!(mount.contains("readOnly: true"), "{mount}");
    }
    let probe = sidecar
        .iter()
        .find_map(|line| line.trim().strip_prefix("exec: {command: "));
    let probe: Vec<String> =
        serde_json::from_str(probe.expect("a probe").trim_end_matches('}')).unwrap();
    let known = run(Command::new(program("hsw-agent"))
        .args(&probe[1..3])
        .arg("--help"));
    assert!(known.status.success(), "{probe:?}");
}
