//! The command `hsw-quickstart`: a cluster to look at, and faults to try on it.
//!
//! In: the command line. Out: lines on standard output and an exit status: 0 when all went as it should, 1 when not.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use clap::Parser;

use super::attach;
use super::cluster::{Cluster, Options};
use super::faults::{Fault, Injected};
use super::incidents::{self, Expected, Incident, Verdict};
use super::measure;
use super::services::Services;
use super::status::Screen;
use super::stop::Stop;

/// How long the aggregator may take to become ready.
const READY_WITHIN: Duration = Duration::from_secs(120);
/// How long it may take until new edges are judged.
const JUDGED_WITHIN: Duration = Duration::from_secs(360);
/// How long after a fault's end an incident may still come.
const AFTERMATH: Duration = Duration::from_secs(60);
/// Seconds of calm measured before a fault when nobody watches.
const CALM: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(250);

/// Starts a real sharded PostgreSQL with load on this machine, watches it, and breaks it if asked.
#[derive(Debug, Parser)]
#[command(name = "hsw-quickstart", version)]
pub struct Args {
    /// Inject this fault as soon as the aggregator is ready.
    #[arg(long, value_name = "NAME", requires = "shard")]
    fault: Option<String>,
    /// Shard to break, from 1; 0 or "coordinator" is the coordinator.
    #[arg(long, value_name = "N")]
    shard: Option<String>,
    /// Heal after so many seconds; with --once as soon as the answer is known.
    #[arg(long = "for", value_name = "SECONDS", default_value_t = 40)]
    seconds: u64,
    /// End after the fault: status 0 only if the one incident names the broken shard (for an intrusion: its edge and client; for a harmless fault: if none came).
    #[arg(long, requires = "fault")]
    once: bool,
    /// List the faults and end.
    #[arg(long)]
    list_faults: bool,
    /// Watch databases of your own, listed in this TOML file of `[[node]]` tables; starts none.
    #[arg(long, value_name = "FILE", conflicts_with_all = ["fault", "databases_only", "vary"])]
    attach: Option<PathBuf>,
    /// Start databases and load, but no agents and no aggregator.
    #[arg(long)]
    databases_only: bool,
    /// Let the load follow a short day, 30 % up and down.
    #[arg(long)]
    vary: bool,
    /// Leave the run folder when stopping.
    #[arg(long)]
    keep_data: bool,
    /// Run folder; made and removed by the run.
    #[arg(long, value_name = "DIR", default_value = "/tmp/hsw-quickstart")]
    dir: PathBuf,
    /// Address of the page.
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    web: SocketAddr,
    /// Use the addresses 127.0.SUBNET.x.
    #[arg(long, default_value_t = 11)]
    subnet: u8,
}

/// Runs the command to its end.
#[must_use]
pub fn main() -> ExitCode {
    let args = Args::parse();
    let screen = Arc::new(Screen::new());
    match run(&args, &screen) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            screen.line(&format!("hsw-quickstart: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// A fault as asked for.
#[derive(Clone, Copy, Debug)]
struct Plan {
    fault: Fault,
    shard: usize,
    span: Duration,
    once: bool,
}

impl Plan {
    fn of(args: &Args) -> Result<Option<Self>> {
        let Some(name) = &args.fault else {
            return Ok(None);
        };
        let shard = match args.shard.as_deref() {
            Some("coordinator") => 0,
            Some(text) => text
                .parse()
                .context("--shard takes a number or \"coordinator\"")?,
            None => bail!("--fault needs --shard N"),
        };
        let span = Duration::from_secs(args.seconds);
        Ok(Some(Self {
            fault: Fault::parse(name)?,
            shard,
            span,
            once: args.once,
        }))
    }

    /// What the incident must name.
    fn expected(self) -> Expected {
        let name = if self.shard == 0 {
            "coordinator".to_owned()
        } else {
            format!("shard-{}", self.shard)
        };
        self.fault.expected(&name)
    }
}

fn run(args: &Args, screen: &Arc<Screen>) -> Result<bool> {
    if args.list_faults {
        for fault in Fault::ALL {
            screen.line(&format!("{:18}{}", fault.name(), fault.about()));
        }
        return Ok(true);
    }
    let plan = Plan::of(args)?;
    let stop = Stop::new();
    stop.on_signals()?;
    let options = options(args, screen, &stop)?;
    if let Some(file) = &args.attach {
        let stay = |services: &mut Services| {
            services.wait_ready(&stop, READY_WITHIN)?;
            screen.line(&format!("ready: http://{}/ (Ctrl-C ends it)", services.web));
            while stop.sleep(Duration::from_secs(1)) {
                services.check()?;
            }
            Ok(())
        };
        attach::run(&options, file, stay)?;
        return Ok(true);
    }
    let mut cluster = Cluster::start(options)?;
    let outcome = lead(&mut cluster, plan, &stop, screen);
    screen.line("stopping, and removing what was started");
    cluster.stop()?;
    outcome
}

fn options(args: &Args, screen: &Arc<Screen>, stop: &Stop) -> Result<Options> {
    let own = std::env::current_exe().context("find our own program")?;
    let programs = own
        .parent()
        .context("find the folder of our own program")?
        .to_owned();
    let say = Arc::clone(screen);
    Ok(Options {
        web: args.web,
        subnet: args.subnet,
        programs: (!args.databases_only).then_some(programs),
        vary: args.vary,
        keep_data: args.keep_data,
        stop: stop.clone(),
        say: Arc::new(move |text| say.line(text)),
        ..Options::new(&args.dir)
    })
}

/// From a started cluster to its end; says whether all went as it should.
fn lead(cluster: &mut Cluster, plan: Option<Plan>, stop: &Stop, screen: &Screen) -> Result<bool> {
    let mut web = None;
    if let Some(services) = cluster.services() {
        services.wait_ready(stop, READY_WITHIN)?;
        web = Some(services.web);
        screen.line(&format!("ready: http://{}/", services.web));
    } else if plan.is_some() && !stop.sleep(CALM) {
        return Ok(false);
    }
    let mut good = true;
    if let Some(plan) = plan {
        good = match web {
            Some(web) => trial(cluster, web, plan, stop, screen)?,
            None => rehearse(cluster, plan, stop, screen)?,
        };
        if plan.once {
            return Ok(good);
        }
    }
    stay(cluster, web, stop, screen)?;
    Ok(good)
}

/// Keeps the cluster until it is stopped, and tells what happens.
fn stay(
    cluster: &mut Cluster,
    web: Option<SocketAddr>,
    stop: &Stop,
    screen: &Screen,
) -> Result<()> {
    screen.line(&format!(
        "stays until Ctrl-C; logs are in {}",
        cluster.dir().join("logs").display()
    ));
    let every = Duration::from_secs(if screen.is_terminal() { 3 } else { 30 });
    let mut known: BTreeSet<String> = BTreeSet::new();
    let mut shown = Instant::now();
    let mut ended = String::new();
    while stop.sleep(Duration::from_secs(1)) {
        // Somebody who stops an agent to see what is said of it must not lose the cluster.
        let check = cluster.services().map_or(Ok(()), Services::check);
        let gone = check
            .err()
            .map(|why| format!("{why:#}"))
            .unwrap_or_default();
        if gone != ended {
            screen.line(if gone.is_empty() {
                "all programs run"
            } else {
                &gone
            });
            ended = gone;
        }
        let incidents = web.map_or_else(Vec::new, |web| incidents::fetch(web).unwrap_or_default());
        for incident in &incidents {
            if known.insert(incident.id.clone()) {
                screen.line(&describe(incident));
            }
        }
        if shown.elapsed() >= every {
            shown = Instant::now();
            let open = incidents
                .iter()
                .filter(|incident| incident.state == "open")
                .count();
            screen.status(&format!("{} | {open} open incidents", rates(cluster)));
        }
    }
    Ok(())
}

fn rates(cluster: &Cluster) -> String {
    let now = unix_now();
    let felt = cluster.shards().iter().map(|node| {
        let stream = format!("load-tenant-{}", node.number);
        let felt = measure::felt(
            cluster.dir(),
            &stream,
            now.saturating_sub(6),
            now.saturating_sub(1),
        );
        let felt = felt.unwrap_or_default();
        if felt.per_second == 0.0 {
            return format!("{} no answers", node.name);
        }
        format!(
            "{} {:.0}/s {:.1} ms",
            node.name, felt.per_second, felt.latency_ms_mean
        )
    });
    felt.collect::<Vec<_>>().join("  ")
}

fn describe(incident: &Incident) -> String {
    format!(
        "incident {} ({}): {}",
        incident.id, incident.state, incident.summary
    )
}

/// Injects and judges what the aggregator makes of it.
fn trial(
    cluster: &mut Cluster,
    web: SocketAddr,
    plan: Plan,
    stop: &Stop,
    screen: &Screen,
) -> Result<bool> {
    if plan.fault.intruder().is_some() {
        screen.line("waits until it is known who talks to whom (three minutes)");
        incidents::wait_judged(web, stop, JUDGED_WITHIN)?;
    }
    let known: BTreeSet<String> = incidents::fetch(web)?.into_iter().map(|it| it.id).collect();
    let expected = plan.expected();
    let mut injected = Some(inject(cluster, plan, screen)?);
    let started = Instant::now();
    let mut known_after = None;
    let outcome = loop {
        if !stop.sleep(POLL) {
            bail!("stopped before the verdict");
        }
        if let Some(services) = cluster.services() {
            services.check()?;
        }
        let healing = if started.elapsed() >= plan.span {
            injected.take()
        } else {
            None
        };
        if let Some(injected) = healing {
            injected.heal()?;
            screen.line("healed");
        }
        let verdict = incidents::judge(&known, &incidents::fetch(web)?, &expected);
        let is_known = verdict != Verdict::Nothing;
        if is_known {
            known_after.get_or_insert_with(|| started.elapsed());
        }
        let is_over = started.elapsed() >= plan.span + AFTERMATH;
        // Who stays to watch wants the fault for as long as he asked.
        if is_over || is_known && (plan.once || injected.is_none()) {
            break verdict;
        }
    };
    let seconds = known_after.unwrap_or_else(|| started.elapsed());
    let seconds = seconds.as_secs_f64();
    if let Some(injected) = injected.take() {
        injected.heal()?;
        screen.line("healed");
    }
    // Whatever came while healing counts as well.
    let last = incidents::judge(&known, &incidents::fetch(web)?, &expected);
    let verdict = if matches!(last, Verdict::Wrong(_)) {
        last
    } else {
        outcome
    };
    Ok(pronounce(&verdict, &expected, seconds, screen))
}

fn pronounce(verdict: &Verdict, expected: &Expected, seconds: f64, screen: &Screen) -> bool {
    match (verdict, expected) {
        (Verdict::Right(incident), _) => {
            screen.line(&format!(
                "{} [{seconds:.1} s after the fault]",
                describe(incident)
            ));
            screen.line(&format!("right: the incident names {expected}"));
            true
        }
        (Verdict::Nothing, Expected::Nothing) => {
            screen.line("right: no incident was raised");
            true
        }
        (Verdict::Nothing, _) => {
            screen.line(&format!(
                "wrong: no incident within {seconds:.0} s; expected {expected}"
            ));
            false
        }
        (Verdict::Wrong(incident), expected) => {
            screen.line(&format!(
                "{} [{seconds:.1} s after the fault]",
                describe(incident)
            ));
            screen.line(&format!("wrong: expected {expected}"));
            false
        }
    }
}

fn inject(cluster: &Cluster, plan: Plan, screen: &Screen) -> Result<Injected> {
    let injected = cluster.inject(plan.fault, plan.shard)?;
    screen.line(&format!(
        "injected {} on {}",
        plan.fault.name(),
        cluster.nodes()[plan.shard].name
    ));
    Ok(injected)
}

/// Without anybody watching: injects, heals, and prints what the clients felt before and during.
fn rehearse(cluster: &Cluster, plan: Plan, stop: &Stop, screen: &Screen) -> Result<bool> {
    let before = unix_now();
    let injected = inject(cluster, plan, screen)?;
    let begun = unix_now();
    let whole = stop.sleep(plan.span);
    let ended = unix_now();
    injected.heal()?;
    screen.line("healed");
    for node in cluster.shards() {
        for stream in [
            format!("load-tenant-{}", node.number),
            format!("load-reports-{}", node.number),
        ] {
            let calm = measure::felt(cluster.dir(), &stream, before - CALM.as_secs() + 5, before)?;
            let bad = measure::felt(cluster.dir(), &stream, begun + 1, ended)?;
            screen.line(&format!("{stream:16} before: {calm}  during: {bad}"));
        }
    }
    Ok(whole)
}

fn unix_now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map_or(0, |since| since.as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fault_needs_a_shard_and_attaching_allows_none() {
        assert!(Args::try_parse_from(["q", "--fault", "crash"]).is_err());
        assert!(
            Args::try_parse_from(["q", "--attach", "f", "--fault", "crash", "--shard", "1"])
                .is_err()
        );
        let args =
            Args::try_parse_from(["q", "--fault", "crash", "--shard", "coordinator"]).unwrap();
        let plan = Plan::of(&args).unwrap().unwrap();
        assert_eq!(plan.expected(), Expected::Shard("coordinator".to_owned()));
    }

    #[test]
    fn a_harmless_fault_expects_no_incident() {
        let args =
            Args::try_parse_from(["q", "--fault", "load-surge-all", "--shard", "2"]).unwrap();
        assert_eq!(
            Plan::of(&args).unwrap().unwrap().expected(),
            Expected::Nothing
        );
    }
}
