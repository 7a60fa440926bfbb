"""The table of the fixture's tools, and those that every version of the protocol has. Names and answers are the suite's."""

import anyio
import mcp_types as types
from mcp.shared.exceptions import MCPError
from mcp.shared.subscriptions import PromptsListChanged, ToolsListChanged
from mcp.server.subscriptions import InMemorySubscriptionBus

from samples import PICTURE, SOUND

TOOLS = {}  # name: (how it is listed, what answers), in the order of the lists
BUS = InMemorySubscriptionBus()
NO_ARGUMENTS = {"type": "object", "properties": {}}
A_MOMENT = 0.05  # what the suite's descriptions ask for between two notifications


def tool(name: str, description: str, schema: dict = NO_ARGUMENTS):
    """Puts a function of (context, parameters) into the table."""
    def register(function):
        TOOLS[name] = (types.Tool(name=name, description=description, input_schema=schema), function)
        return function

    return register


def text(words: str) -> types.TextContent:
    return types.TextContent(type="text", text=words)


def said(words: str) -> types.CallToolResult:
    """A result of one text."""
    return types.CallToolResult(content=[text(words)])


def strings(*names: str) -> dict:
    """The schema of arguments that are all texts and all required."""
    properties = {name: {"type": "string"} for name in names}
    return {"type": "object", "properties": properties, "required": list(names)}


def embedded(uri: str, media: str, words: str) -> types.EmbeddedResource:
    return types.EmbeddedResource(
        type="resource", resource=types.TextResourceContents(uri=uri, mime_type=media, text=words)
    )


def image() -> types.ImageContent:
    return types.ImageContent(type="image", data=PICTURE, mime_type="image/png")


@tool("test_simple_text", "Answers with a text")
async def simple_text(ctx, params):
    return said("This is a simple text response for testing.")


@tool("test_image_content", "Answers with a picture")
async def image_content(ctx, params):
    return types.CallToolResult(content=[image()])


@tool("test_audio_content", "Answers with a sound")
async def audio_content(ctx, params):
    return types.CallToolResult(content=[types.AudioContent(type="audio", data=SOUND, mime_type="audio/wav")])


@tool("test_embedded_resource", "Answers with a resource")
async def embedded_resource(ctx, params):
    resource = embedded("test://embedded-resource", "text/plain", "This is an embedded resource content.")
    return types.CallToolResult(content=[resource])


@tool("test_multiple_content_types", "Answers with a text, a picture and a resource")
async def multiple_content_types(ctx, params):
    resource = embedded("test://mixed-content-resource", "application/json", '{"test":"data","value":123}')
    return types.CallToolResult(content=[text("Multiple content types test:"), image(), resource])


@tool("test_tool_with_logging", "Logs three times while it works")
async def with_logging(ctx, params):
    for line in ["Tool execution started", "Tool processing data", "Tool execution completed"]:
        await ctx.session.send_log_message("info", line, related_request_id=ctx.request_id)
        await anyio.sleep(A_MOMENT)
    return said("logged")


@tool("test_logging_tool", "Logs once, to who asked for it")
async def logging_tool(ctx, params):
    await ctx.session.send_log_message("info", "logging", related_request_id=ctx.request_id)
    return said("done")


@tool("test_tool_with_progress", "Reports progress three times")
async def with_progress(ctx, params):
    for progress in [0, 50, 100]:
        await ctx.session.report_progress(progress, 100)
        await anyio.sleep(A_MOMENT)
    return said("done")


@tool("test_error_handling", "Always fails")
async def error_handling(ctx, params):
    return types.CallToolResult(content=[text("This tool intentionally returns an error for testing")], is_error=True)


@tool("test_sampling", "Asks the client's model while it works", strings("prompt"))
async def asks_model(ctx, params):
    message = types.SamplingMessage(role="user", content=text(params.arguments["prompt"]))
    answer = await ctx.session.create_message([message], max_tokens=100, related_request_id=ctx.request_id)
    return said(f"LLM response: {answer.content.text}")


async def asked_user(ctx, message: str, schema: dict) -> str:
    answer = await ctx.session.elicit_form(message, schema, related_request_id=ctx.request_id)
    return f"action={answer.action}, content={answer.content}"


@tool("test_elicitation", "Asks the user while it works", strings("message"))
async def asks_user(ctx, params):
    schema = strings("username", "email")
    schema["properties"]["username"]["description"] = "User's response"
    schema["properties"]["email"]["description"] = "User's email address"
    return said(f"User response: {await asked_user(ctx, params.arguments['message'], schema)}")


@tool("test_elicitation_sep1034_defaults", "Asks with a default of every kind")
async def asks_with_defaults(ctx, params):
    schema = {
        "type": "object",
        "properties": {
            "name": {"type": "string", "default": "John Doe"},
            "age": {"type": "integer", "default": 30},
            "score": {"type": "number", "default": 95.5},
            "status": {"type": "string", "enum": ["active", "inactive", "pending"], "default": "active"},
            "verified": {"type": "boolean", "default": True},
        },
    }
    return said(f"Elicitation completed: {await asked_user(ctx, 'Please review', schema)}")


@tool("test_elicitation_sep1330_enums", "Asks with a choice of every kind")
async def asks_to_choose(ctx, params):
    def titled(ordinals: list[str], noun: str) -> list[dict]:
        return [{"const": f"value{at}", "title": f"{word} {noun}"} for at, word in enumerate(ordinals, 1)]

    ordinals, options = ["First", "Second", "Third"], ["option1", "option2", "option3"]
    schema = {
        "type": "object",
        "properties": {
            "untitledSingle": {"type": "string", "enum": options},
            "titledSingle": {"type": "string", "oneOf": titled(ordinals, "Option")},
            "legacyEnum": {
                "type": "string",
                "enum": ["opt1", "opt2", "opt3"],
                "enumNames": ["Option One", "Option Two", "Option Three"],
            },
            "untitledMulti": {"type": "array", "items": {"type": "string", "enum": options}},
            "titledMulti": {"type": "array", "items": {"anyOf": titled(ordinals, "Choice")}},
        },
    }
    return said(f"Elicitation completed: {await asked_user(ctx, 'Please choose', schema)}")


@tool("test_reconnection", "Hangs up in the middle, so that the client must come back for the answer")
async def reconnection(ctx, params):
    if ctx.close_sse_stream is not None:
        await ctx.close_sse_stream()
    await anyio.sleep(A_MOMENT)
    return said("reconnected")


@tool("test_missing_capability", "Cannot work for a client without a model")
async def missing_capability(ctx, params):
    declared = ctx.session.client_capabilities
    if declared is None or declared.sampling is None:
        needed = types.MissingRequiredClientCapabilityErrorData(
            required_capabilities=types.ClientCapabilities(sampling=types.SamplingCapability())
        )
        raise MCPError(
            code=types.MISSING_REQUIRED_CLIENT_CAPABILITY,
            message="this tool needs a client that can sample",
            data=needed.model_dump(by_alias=True, mode="json", exclude_none=True),
        )
    return said("the client can sample")


@tool("test_trigger_tool_change", "Says that the list of tools has changed")
async def trigger_tool_change(ctx, params):
    await BUS.publish(ToolsListChanged())
    return said("said")


@tool("test_trigger_prompt_change", "Says that the list of prompts has changed")
async def trigger_prompt_change(ctx, params):
    await BUS.publish(PromptsListChanged())
    return said("said")


@tool(
    "test_header_argument",
    "Wants one argument in a header too",
    {
        "type": "object",
        "properties": {
            "region": {"type": "string", "x-mcp-header": "Region"},
            "note": {"type": "string"},
        },
        "required": ["region"],
    },
)
async def header_argument(ctx, params):
    return said(f"region {params.arguments['region']}")


ADDRESS = {"$anchor": "addressDef", "type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}


@tool(
    "json_schema_2020_12_tool",
    "Tool with JSON Schema 2020-12 features",
    {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "type": "object",
        "$defs": {"address": ADDRESS},
        "properties": {
            "name": {"type": "string"},
            "address": {"$ref": "#/$defs/address"},
            "contactMethod": {"type": "string", "enum": ["phone", "email"]},
            "phone": {"type": "string"},
            "email": {"type": "string"},
        },
        "allOf": [{"anyOf": [{"required": ["phone"]}, {"required": ["email"]}]}],
        "if": {"properties": {"contactMethod": {"const": "phone"}}, "required": ["contactMethod"]},
        "then": {"required": ["phone"]},
        "else": {"required": ["email"]},
        "additionalProperties": False,
    },
)
async def json_schema(ctx, params):
    return said(str(params.arguments))
