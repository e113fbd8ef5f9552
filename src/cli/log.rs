//! `log`: what an app's jobs have written.

use anyhow::Result;
use api::controller::{self as endpoints, LogMessage, LogStream};
use clap::Args;

use super::Context;
use crate::term::{self, Format};

#[derive(Debug, Args)]
pub(super) struct Log {
    /// Go on as lines are written
    #[arg(short, long)]
    follow: bool,
    /// So many of the last lines
    #[arg(short = 'n', long, default_value_t = 200)]
    lines: u64,
    /// Only this process type
    #[arg(short = 't', long = "type", value_name = "TYPE")]
    kind: Option<String>,
    /// Only this job: an id or its first characters
    #[arg(short, long)]
    job: Option<String>,
    /// Only the lines themselves
    #[arg(short, long)]
    raw: bool,
    /// Lines of standard error to standard error
    #[arg(short, long)]
    split_stderr: bool,
    /// Also what the platform says of the jobs
    #[arg(short, long)]
    init: bool,
}

pub(super) fn log(context: &Context, args: &Log) -> Result<()> {
    let controller = context.controller()?;
    let app = context.app(&controller)?;
    let lines = args.lines.to_string();
    let mut query = vec![("lines", lines.as_str())];
    if args.follow {
        query.push(("follow", "true"));
    }
    if let Some(kind) = &args.kind {
        query.push(("process_type", kind));
    }
    if let Some(job) = &args.job {
        query.push(("job_id", job.rsplit('.').next().unwrap_or(job)));
    }
    query.push(("stream_types", if args.init { "stdout,stderr,init" } else { "stdout,stderr" }));
    // A quiet app is quiet for as long as it likes.
    let controller = if args.follow { controller.timeout(None) } else { controller };
    for message in controller.lines(&endpoints::LOG, &[app.id.as_str()], &query, &())? {
        print(&message?, args, context.format)?;
    }
    Ok(())
}

fn print(message: &LogMessage, args: &Log, format: Format) -> Result<()> {
    if format == Format::Json {
        term::out(&serde_json::to_string(message)?);
        return Ok(());
    }
    let line = if args.raw {
        message.msg.clone()
    } else {
        let job = types::JobId::parse(&message.job_id);
        let short = job.as_ref().map_or(message.job_id.as_str(), |id| id.short());
        format!("{} {}[{}.{short}]: {}", message.timestamp, message.source, message.process_type, message.msg)
    };
    if args.split_stderr && message.stream == LogStream::Stderr {
        term::note(&line);
    } else {
        term::out(&line);
    }
    Ok(())
}
