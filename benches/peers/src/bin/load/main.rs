//! The client: HTTP/1.1 on as many connections as the plan says, from one thread. Bodies are read, as a client does, and
//! compared with what they should be where the plan says so.
//!
//! Reads a plan (JSON) from the first line of standard input, connects, says `ready`, begins at the next line, and prints
//! what came of it as a line of JSON. Whoever starts it measures the server between the two. Ends with standard input.

mod client;
mod connection;
mod plan;
mod tally;

use std::error::Error;
use std::io::Write as _;
use std::rc::Rc;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::task::LocalSet;

use client::Client;
use plan::Plan;

type Failure = Box<dyn Error + Send + Sync>;

fn main() -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    runtime.block_on(LocalSet::new().run_until(run()))
}

async fn run() -> Result<(), Failure> {
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    let plan = lines.next_line().await?.ok_or("a plan is missing")?;
    let plan: Plan = serde_json::from_str(&plan)?;
    let client = Rc::new(Client::new(plan)?);
    let connections = client.connect().await?;
    say("ready")?;
    lines.next_line().await?.ok_or("nobody says when")?;
    // Connections stay open until the end: whoever measures may want to look at the server with them.
    let (done, _connections) = client.run(connections).await?;
    say(&serde_json::to_string(&done)?)?;
    while lines.next_line().await?.is_some() {}
    Ok(())
}

fn say(line: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{line}")?;
    Ok(out.flush()?)
}
