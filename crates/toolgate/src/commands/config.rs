//! `toolgate config`: the settings in force, and their schema for editors.

use clap::Subcommand;
use serde_json::json;

use super::{Context, Verdict};
use crate::{
    output::{Column, Table, escape_foreign},
    settings::{Settings, schema},
};

#[derive(Debug, Subcommand)]
pub enum Command {
    #[command(override_help = include_str!("help/config_show.txt"))]
    Show,
    #[command(override_help = include_str!("help/config_schema.txt"))]
    Schema,
}

pub fn run(context: &Context, command: &Command) -> anyhow::Result<Verdict> {
    match command {
        Command::Show => show(context),
        Command::Schema => {
            context.output.raw(&serde_json::to_string_pretty(&schema())?)?;
            Ok(Verdict::Done)
        }
    }
}

fn show(context: &Context) -> anyhow::Result<Verdict> {
    let choices = context.choices()?;
    if context.output.json {
        let rows = choices.all().iter().map(|choice| {
            json!({ "setting": choice.setting.path, "value": choice.written, "from": choice.from.to_string() })
        });
        context.output.json(&rows.collect::<Vec<_>>())?;
    } else {
        let mut table = Table::new([Column::left("SETTING"), Column::left("VALUE"), Column::left("FROM")]);
        for choice in choices.all() {
            let value = escape_foreign(&choice.written).into_owned();
            table.row([choice.setting.path.to_owned(), value, choice.from.to_string()]);
        }
        for line in table.lines(&context.output.stdout) {
            context.output.answer(line)?;
        }
        context.output.talk(format!("home  {}", context.invocation.path(context.home.path())));
    }
    // They may still not fit together; that is worth an error, after what is in force was shown.
    Settings::build(&choices, context.home.path())?;
    Ok(Verdict::Done)
}
