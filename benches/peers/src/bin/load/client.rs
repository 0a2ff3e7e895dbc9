//! All connections of a plan: opens them, lets each ask and ask again, and adds up what they counted.

use std::cell::{OnceCell, RefCell};
use std::collections::HashMap;
use std::rc::Rc;
use std::time::{Duration, Instant};

use tokio::task::spawn_local;
use tokio_rustls::TlsConnector;

use super::Failure;
use super::connection::{Connection, connector};
use super::plan::{Plan, Requests};
use super::tally::{Done, Tally};

/// A server that refuses connections would be asked without end.
const MAX_ERRORS: u64 = 20;

pub struct Client {
    requests: Requests,
    tls: Option<TlsConnector>,
    /// What `If-None-Match` is filled with.
    etags: RefCell<HashMap<u64, String>>,
    end: OnceCell<Instant>,
}

impl Client {
    pub fn new(plan: Plan) -> Result<Self, Failure> {
        let tls = plan.tls.as_deref().map(connector).transpose()?;
        let requests = Requests::new(plan)?;
        Ok(Self {
            requests,
            tls,
            etags: RefCell::default(),
            end: OnceCell::new(),
        })
    }

    /// Opens all connections, and learns the entity tags.
    pub async fn connect(&self) -> Result<Vec<Connection>, Failure> {
        let plan = self.requests.plan();
        let mut connections = Vec::with_capacity(plan.connections);
        for _ in 0..plan.connections {
            connections.push(Connection::open(plan, self.tls.as_ref()).await?);
        }
        if plan.if_none_match {
            let connection = connections.first_mut().ok_or("no connection")?;
            for number in plan.first..plan.first + plan.objects {
                let answer = connection.ask(&self.requests.whole(number)?, plan).await?;
                let etag = answer.etag.ok_or("an answer without an entity tag")?;
                self.etags.borrow_mut().insert(number, etag);
            }
            connection.received = 0;
        }
        Ok(connections)
    }

    /// Asks until time or requests are used up.
    pub async fn run(
        self: Rc<Self>,
        connections: Vec<Connection>,
    ) -> Result<(Done, Vec<Connection>), Failure> {
        let begun = Instant::now();
        let end = begun + Duration::from_secs_f64(self.requests.plan().seconds);
        self.end.set(end).map_err(|_| "it runs")?;
        let tasks: Vec<_> = connections
            .into_iter()
            .map(|connection| spawn_local(self.clone().ask_on(connection)))
            .collect();
        let (mut tally, mut left) = (Tally::default(), Vec::new());
        for task in tasks {
            let (connection, own) = task.await??;
            left.extend(connection);
            tally.add(own);
        }
        Ok((tally.done(begun.elapsed().as_secs_f64()), left))
    }

    async fn ask_on(
        self: Rc<Self>,
        connection: Connection,
    ) -> Result<(Option<Connection>, Tally), Failure> {
        let plan = self.requests.plan();
        let end = *self.end.get().ok_or("it does not run")?;
        let (mut connection, mut tally) = (Some(connection), Tally::default());
        while Instant::now() < end && tally.errors < MAX_ERRORS {
            let etag = |number| self.etags.borrow().get(&number).cloned();
            let Some(asked) = self.requests.next(etag)? else {
                break;
            };
            let mut open = match connection.take() {
                Some(open) => open,
                None => match Connection::open(plan, self.tls.as_ref()).await {
                    Ok(open) => open,
                    Err(_) => {
                        tally.errors += 1;
                        continue;
                    }
                },
            };
            // What is slow ends with the time: its last body would take minutes.
            let answer = match plan.rate {
                None => open.ask(&asked, plan).await,
                Some(_) => {
                    match tokio::time::timeout_at(end.into(), open.ask(&asked, plan)).await {
                        Ok(answer) => answer,
                        Err(_) => {
                            connection = Some(open);
                            break;
                        }
                    }
                }
            };
            tally.bytes += std::mem::take(&mut open.received);
            let Ok(answer) = answer else {
                tally.errors += 1;
                continue;
            };
            tally.requests += 1;
            tally.wrong += u64::from(!answer.right);
            *tally.statuses.entry(answer.status).or_default() += 1;
            tally.first_bytes.push(answer.first_byte);
            tally.wholes.push(answer.whole);
            connection = open.reusable.then_some(open);
        }
        tally.bytes += connection
            .as_mut()
            .map_or(0, |open| std::mem::take(&mut open.received));
        Ok((connection, tally))
    }
}
