//! A tour of one server with the Rust SDK's client; prints what it saw as one line of JSON.
//! Usage: `rmcp-tour legacy|auto|task http URL [KEY]`, or `rmcp-tour legacy|auto|task stdio COMMAND [ARGUMENT…]`.
//! `task` takes no tour: it makes one call, as a client that takes tasks, and follows its task to the end.

#![expect(deprecated, reason = "servers of 2025-11-25 still ask for sampling")]

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;

use anyhow::{Context, Result, bail};
use rmcp::model::*;
use rmcp::service::{NotificationContext, RequestContext, RunningService};
use rmcp::transport::streamable_http_client::StreamableHttpClientTransportConfig;
use rmcp::transport::{StreamableHttpClientTransport, TokioChildProcess};
use rmcp::{ClientHandler, ClientLifecycleMode, ClientServiceExt, ErrorData, RoleClient, ServiceError};
use serde_json::{Map, Value, json};

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let seen = runtime.block_on(tour(&arguments))?;
    println!("{seen}");
    Ok(())
}

async fn tour(arguments: &[String]) -> Result<Value> {
    let [mode, kind, target, rest @ ..] = arguments else { bail!("see the top of main.rs") };
    let visitor = Visitor { takes_tasks: mode == "task", ..Visitor::default() };
    let heard_progress = Arc::clone(&visitor.heard_progress);
    let lifecycle = match mode.as_str() {
        "auto" | "task" => ClientLifecycleMode::Auto {
            preferred_versions: vec![ProtocolVersion::V_2026_07_28],
            legacy_version: Some(ProtocolVersion::V_2025_11_25),
        },
        _ => ClientLifecycleMode::Initialize,
    };
    let client = if kind == "stdio" {
        let mut command = tokio::process::Command::new(target);
        command.args(rest);
        visitor.serve_with_lifecycle(TokioChildProcess::new(command)?, lifecycle).await?
    } else {
        let mut config = StreamableHttpClientTransportConfig::with_uri(target.as_str());
        if let Some(key) = rest.first() {
            config = config.auth_header(key.as_str());
        }
        visitor.serve_with_lifecycle(StreamableHttpClientTransport::from_config(config), lifecycle).await?
    };
    if mode == "task" {
        let seen = follow_task(&client).await?;
        client.cancel().await?;
        return Ok(seen);
    }
    let mut seen = json!({});
    let tools = serde_json::to_value(client.list_all_tools().await?)?;
    seen["tools"] = pick(&tools, "name");
    seen["resources"] = pick(&serde_json::to_value(client.list_all_resources().await?)?, "uri");
    let version = client.peer_info().context("no handshake")?.protocol_version.clone();
    seen["version"] = serde_json::to_value(version)?;
    if tools.to_string().contains(r#""name":"order""#) {
        visit_probe(&client, &mut seen, mode == "auto").await?;
    } else {
        visit_everything(&client, &mut seen).await?;
        seen["progress"] = json!(heard_progress.load(Relaxed));
    }
    client.cancel().await?;
    Ok(seen)
}

type Client = RunningService<RoleClient, Visitor>;

/// Calls `echo`, and asks after the task that the call has become until it has ended.
async fn follow_task(client: &Client) -> Result<Value> {
    let offered = client.peer_info().context("no handshake")?.capabilities.extensions.clone();
    let params =
        CallToolRequestParams::new("echo").with_arguments(object(json!({"text": "a task's h\u{e9}llo"})));
    let CallToolResponse::Task(created) = client.call_tool_once(params).await? else { bail!("no task") };
    // Two minutes at most.
    for _ in 0..600 {
        let task = client.get_task(GetTaskParams::new(created.task.task_id.as_str())).await?.task;
        if task.status().is_terminal() {
            return Ok(json!({ "offered": offered, "created": created, "ended": task }));
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    bail!("the task does not end")
}

async fn visit_probe(client: &Client, seen: &mut Value, modern: bool) -> Result<()> {
    seen["echo"] = call(client, "echo", json!({"text": "héllo"})).await?["content"][0]["text"].take();
    if modern {
        seen["order"] = call(client, "order", json!({})).await?["content"][0]["text"].take();
    }
    let read = client.read_resource(ReadResourceRequestParams::new("note://probe/one")).await?;
    seen["note"] = serde_json::to_value(read)?["contents"][0]["text"].take();
    seen["denied"] = denied(client, "forbidden").await?;
    Ok(())
}

async fn visit_everything(client: &Client, seen: &mut Value) -> Result<()> {
    seen["echo"] = call(client, "echo", json!({"message": "héllo"})).await?["content"][0]["text"].take();
    seen["sum"] = call(client, "get-sum", json!({"a": 19, "b": 23})).await?["content"][0]["text"].take();
    seen["structured"] =
        call(client, "get-structured-content", json!({"location": "Chicago"})).await?["structuredContent"]
            .take();
    call(client, "trigger-long-running-operation", json!({"duration": 0.4, "steps": 4})).await?;
    seen["prompts"] = pick(&serde_json::to_value(client.list_all_prompts().await?)?, "name");
    let arguments = object(json!({"department": "Sales", "name": "Eve"}));
    let prompt = client
        .get_prompt(GetPromptRequestParams::new("completable-prompt").with_arguments(arguments))
        .await?;
    seen["prompt"] = serde_json::to_value(prompt)?["messages"][0]["content"]["text"].take();
    let completed = client
        .complete(CompleteRequestParams::new(
            Reference::for_prompt("completable-prompt"),
            ArgumentInfo::new("department", "S"),
        ))
        .await?;
    seen["completion"] = serde_json::to_value(completed)?["completion"]["values"].take();
    let asked = call(client, "trigger-elicitation-request", json!({})).await?;
    seen["elicitation"] = json!(asked.to_string().contains("Ada"));
    let sampled = call(client, "trigger-sampling-request", json!({"prompt": "p", "maxTokens": 5})).await?;
    seen["sampling"] = json!(sampled.to_string().contains("Paris, said the model"));
    seen["denied"] = denied(client, "get-env").await?;
    Ok(())
}

async fn call(client: &Client, tool: &'static str, arguments: Value) -> Result<Value> {
    let params = CallToolRequestParams::new(tool).with_arguments(object(arguments));
    Ok(serde_json::to_value(client.call_tool(params).await?)?)
}

/// The code with which a call is refused; null when it is not.
async fn denied(client: &Client, tool: &'static str) -> Result<Value> {
    match client.call_tool(CallToolRequestParams::new(tool)).await {
        Ok(_) => Ok(Value::Null),
        Err(ServiceError::McpError(error)) => Ok(serde_json::to_value(error.code)?),
        Err(error) => Err(error.into()),
    }
}

fn pick(list: &Value, member: &str) -> Value {
    list.as_array().map(|items| items.iter().map(|item| item[member].clone()).collect()).unwrap_or_default()
}

fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(members) => members,
        _ => Map::new(),
    }
}

/// A client that says yes to everything it is asked.
#[derive(Clone, Default)]
struct Visitor {
    heard_progress: Arc<AtomicBool>,
    takes_tasks: bool,
}

impl ClientHandler for Visitor {
    async fn create_elicitation(
        &self,
        _request: ElicitRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<ElicitResult, ErrorData> {
        let content = json!({"name": "Ada", "check": true, "dish": "soup"});
        Ok(ElicitResult::new(ElicitationAction::Accept).with_content(content))
    }

    async fn create_message(
        &self,
        _request: CreateMessageRequestParams,
        _context: RequestContext<RoleClient>,
    ) -> Result<CreateMessageResult, ErrorData> {
        let message = SamplingMessage::assistant_text("Paris, said the model");
        Ok(CreateMessageResult::new(message, "stub".into()))
    }

    async fn on_progress(
        &self,
        _progress: ProgressNotificationParam,
        _context: NotificationContext<RoleClient>,
    ) {
        self.heard_progress.store(true, Relaxed);
    }

    fn get_info(&self) -> ClientConfig {
        let mut declared = json!({"elicitation": {}, "sampling": {}});
        if self.takes_tasks {
            declared["extensions"] = json!({ TASKS_EXTENSION_ID: {} });
        }
        let capabilities = serde_json::from_value(declared).unwrap_or_default();
        ClientConfig::new(capabilities, Implementation::new("tour", "1"))
    }
}
