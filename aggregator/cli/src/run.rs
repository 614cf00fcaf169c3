//! The commands: ask, print, choose the exit code. (step 15)
#![expect(
    clippy::print_stdout,
    reason = "printing is what a command line is for"
)]

use std::io::{IsTerminal as _, Write as _};
use std::path::PathBuf;
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use hyper::Method;
use serde_json::{Value, json};

use crate::args::{Cert, Cli, Command, Silence};
use crate::client::Api;
use crate::hot;
use crate::offline;
use crate::offline::graph::Command as Graph;
use crate::record;
use crate::show::{self, Paint};
use crate::{show_graph, show_shards};
use crate::{trigger, weights, why};

/// Fine.
pub const FINE: u8 = 0;
/// `hsw status`: an incident is open or the aggregator is not ready.
pub const NOT_WELL: u8 = 3;
/// `hsw graph audit`: the graph gives away more than was asked for.
pub const NOT_PASSED: u8 = 1;
const URL: &str = "http://127.0.0.1:8080";

/// Runs one command and returns the exit code.
///
/// # Errors
/// One line that names the remedy; the exit code is then 1.
pub fn run(cli: Cli) -> anyhow::Result<u8> {
    match &cli.command {
        Command::Cert(command) => return cert(command),
        Command::Templates(options) => return offline::templates::run(options).map(|()| FINE),
        Command::Fingerprint(options) => return offline::fingerprint::run(options).map(|()| FINE),
        Command::Timeline(options) => return offline::timeline::run(options).map(|()| FINE),
        Command::Logstats(options) => {
            return offline::logstats::run(options, cli.json).map(|()| FINE);
        }
        Command::Rca(options) => return offline::rca::run(options, cli.json).map(|()| FINE),
        Command::Detect(options) => return offline::detect::run(options, cli.json).map(|()| FINE),
        Command::Explain(options) => {
            return offline::explain::run(options, cli.json).map(|()| FINE);
        }
        Command::Replay(options) => return offline::replay::run(options, cli.json).map(|()| FINE),
        Command::Learn(options) => return offline::learn::run(options, cli.json).map(|()| FINE),
        Command::Sketch(command) => return offline::sketch::run(command, cli.json).map(|()| FINE),
        Command::Graph(command) if !command.is_online() => {
            return offline::graph::run(command, cli.json)
                .map(|is_passed| if is_passed { FINE } else { NOT_PASSED });
        }
        Command::Trigger(trigger::Command::Eval(options)) => {
            return offline::trigger::run(options, cli.json).map(|()| FINE);
        }
        _ => {}
    }
    let url = cli
        .url
        .clone()
        .or_else(|| std::env::var("HSW_URL").ok().filter(|url| !url.is_empty()))
        .unwrap_or_else(|| URL.to_owned());
    let token_file = cli.token_file.clone().or_else(|| {
        std::env::var_os("HSW_TOKEN_FILE")
            .filter(|path| !path.is_empty())
            .map(PathBuf::from)
    });
    let api = Api::new(&url, token_file.as_deref(), cli.ca_file.as_deref())?;
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .context("start the runtime")?
        .block_on(online(&cli, &api))
}

async fn online(cli: &Cli, api: &Api) -> anyhow::Result<u8> {
    let paint = Paint(std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none());
    let (answer, text, code) = match &cli.command {
        Command::Status => return status(cli, api, paint).await,
        Command::Health => return api.health().await.map(|()| FINE),
        Command::Shards => {
            let answer = api.ask(Method::GET, "shards", None).await?;
            let text = show_shards::shards(&answer, paint);
            (answer, text, FINE)
        }
        Command::Incidents { all, limit } => {
            let state = if *all { "all" } else { "open" };
            let path = format!("incidents?state={state}&limit={limit}");
            let answer = api.ask(Method::GET, &path, None).await?;
            let text = show::incidents(&answer, *all, paint);
            (answer, text, FINE)
        }
        Command::Incident { id, why } => fine(one_incident(id, *why, api, paint).await?),
        Command::Why(options) => fine(why::ask(options, api, unix_now()).await?),
        Command::Feedback(word) => {
            let one = incident(api, &word.id).await?;
            fine(why::feedback(word, &show::clean(&one["id"]), api).await?)
        }
        Command::Causes(command) => fine(why::causes(command, api).await?),
        Command::Graph(command) => fine(graph(command, api).await?),
        Command::Hot(options) => {
            let path = hot::path(options, unix_now());
            let answer = api.ask(Method::GET, &path, None).await?;
            let text = hot::text(&answer);
            (answer, text, FINE)
        }
        Command::Trigger(command) => fine(trigger::ask(command, api).await?),
        Command::Record(options) => fine(record::run(options, api).await?),
        Command::Weights(command) => fine(weights::ask(command, api).await?),
        Command::Silence(command) => silence(command, api).await?,
        Command::Cert(_)
        | Command::Templates(_)
        | Command::Fingerprint(_)
        | Command::Timeline(_)
        | Command::Logstats(_)
        | Command::Rca(_)
        | Command::Detect(_)
        | Command::Explain(_)
        | Command::Learn(_)
        | Command::Replay(_)
        | Command::Sketch(_) => unreachable!("answered before the API is asked"),
    };
    say(cli, &answer, &text)?;
    Ok(code)
}

/// An answer and what people read of it, where nothing is amiss.
fn fine((answer, text): (Value, String)) -> (Value, String, u8) {
    (answer, text, FINE)
}

async fn one_incident(
    id: &str,
    with_why: bool,
    api: &Api,
    paint: Paint,
) -> anyhow::Result<(Value, String)> {
    let answer = incident(api, id).await?;
    let mut text = show::incident(&answer, paint);
    if with_why {
        text.push_str(&why::text(&answer["why"]));
    }
    Ok((answer, text))
}

async fn graph(command: &Graph, api: &Api) -> anyhow::Result<(Value, String)> {
    let Graph::Accept { id } = command else {
        let answer = api.ask(Method::GET, "graph", None).await?;
        let text = show_graph::text(command, &answer);
        return Ok((answer, text));
    };
    let one = incident(api, id).await?;
    let id = show::clean(&one["id"]);
    let path = format!("incidents/{id}/accept");
    api.ask(Method::POST, &path, Some(&json!({}))).await?;
    let text = format!("incident {id} is over; its edges are to be expected from now on\n");
    Ok((json!({ "accepted": id }), text))
}

fn unix_now() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    now.map_or(0, |now| i64::try_from(now.as_secs()).unwrap_or(i64::MAX))
}

/// Silences: the API's answer, the same for people, the exit code.
async fn silence(command: &Silence, api: &Api) -> anyhow::Result<(Value, String, u8)> {
    Ok(match command {
        Silence::List => {
            let answer = api.ask(Method::GET, "silences", None).await?;
            let text = show::silences(&answer);
            (answer, text, FINE)
        }
        Silence::Add(new) => {
            let body = json!({
                "matchers": new.matchers,
                "reason": new.reason,
                "author": new.author,
                "minutes": new.minutes,
            });
            let answer = api.ask(Method::POST, "silences", Some(&body)).await?;
            let text = format!("silence {} is in force\n", answer["id"]);
            (answer, text, FINE)
        }
        Silence::Remove { id } => {
            api.ask(Method::DELETE, &format!("silences/{id}"), None)
                .await?;
            (
                json!({ "removed": id }),
                format!("silence {id} is over\n"),
                FINE,
            )
        }
    })
}

async fn status(cli: &Cli, api: &Api, paint: Paint) -> anyhow::Result<u8> {
    let shards = api.ask(Method::GET, "shards", None).await?;
    let open = api
        .ask(Method::GET, "incidents?state=open&limit=100", None)
        .await?;
    let is_well =
        show::list(&shards, "unready").is_empty() && show::list(&open, "incidents").is_empty();
    let text = show::status(&shards, &open, paint);
    let answer = json!({ "ready": show::list(&shards, "unready").is_empty(), "status": shards, "open": open["incidents"] });
    say(cli, &answer, &text)?;
    Ok(if is_well { FINE } else { NOT_WELL })
}

/// By id, or by the first digits of one.
async fn incident(api: &Api, id: &str) -> anyhow::Result<Value> {
    let is_hex = !id.is_empty() && id.len() <= 16 && id.bytes().all(|b| b.is_ascii_hexdigit());
    anyhow::ensure!(
        is_hex,
        "`{id}` is not an incident's id: 16 hex digits, see `hsw incidents --all`"
    );
    let id = id.to_ascii_lowercase();
    if id.len() == 16 {
        return api.ask(Method::GET, &format!("incidents/{id}"), None).await;
    }
    let all = api.ask(Method::GET, "incidents?limit=500", None).await?;
    let mut found = show::list(&all, "incidents")
        .iter()
        .filter(|one| one["id"].as_str().is_some_and(|full| full.starts_with(&id)));
    match (found.next(), found.next()) {
        // The list leaves out why closed ones were.
        (Some(one), None) => {
            let path = format!("incidents/{}", show::clean(&one["id"]));
            api.ask(Method::GET, &path, None).await
        }
        (None, _) => anyhow::bail!("no incident begins with {id}: see `hsw incidents --all`"),
        _ => anyhow::bail!("more than one incident begins with {id}: give more digits"),
    }
}

fn cert(command: &Cert) -> anyhow::Result<u8> {
    match command {
        Cert::Init { dir } => {
            hsw_shell::cert::init(dir)?;
            println!(
                "authority made in {}; keep its key where only you can read it",
                dir.display()
            );
        }
        Cert::Issue {
            dir,
            node,
            address,
            out,
        } => {
            hsw_shell::cert::issue(dir, node, address, out)?;
            println!("certificate of {node} written to {}", out.display());
        }
        Cert::Show { file } => print!("{}", hsw_shell::cert::show(file)?),
    }
    Ok(FINE)
}

/// Prints; whoever reads may have enough (`hsw hot | head`), which is an error of its own kind.
fn say(cli: &Cli, answer: &Value, text: &str) -> std::io::Result<()> {
    let mut out = std::io::stdout().lock();
    if cli.json {
        writeln!(out, "{answer:#}")
    } else {
        out.write_all(text.as_bytes())
    }
}
