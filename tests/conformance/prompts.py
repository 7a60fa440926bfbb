"""Prompts and resources of the fixture. Names and answers are the suite's."""

import re

import mcp_types as types
from mcp.shared.exceptions import MCPError

from questions import accepted, asked, form
from samples import PICTURE
from tools import embedded, image, text

PROMPTS = {}  # name: (how it is listed, what answers)
RESOURCES = {
    "test://static-text": types.TextResourceContents(
        uri="test://static-text", mime_type="text/plain", text="This is the content of the static text resource."
    ),
    "test://static-binary": types.BlobResourceContents(uri="test://static-binary", mime_type="image/png", blob=PICTURE),
    "test://watched-resource": types.TextResourceContents(
        uri="test://watched-resource", mime_type="text/plain", text="Watched."
    ),
}
TEMPLATE = "test://template/{id}/data"


def prompt(name: str, description: str, *arguments: str):
    """Puts a function of (context, parameters) into the table."""
    def register(function):
        wanted = [types.PromptArgument(name=argument, description=argument, required=True) for argument in arguments]
        PROMPTS[name] = (types.Prompt(name=name, description=description, arguments=wanted), function)
        return function

    return register


def messages(*contents) -> types.GetPromptResult:
    """One message of the user's for each content."""
    return types.GetPromptResult(messages=[types.PromptMessage(role="user", content=content) for content in contents])


@prompt("test_simple_prompt", "A prompt of one text")
async def simple(ctx, params):
    return messages(text("This is a simple prompt for testing."))


@prompt("test_prompt_with_arguments", "A prompt made of its arguments", "arg1", "arg2")
async def with_arguments(ctx, params):
    given = params.arguments or {}
    return messages(text(f"Prompt with arguments: arg1='{given.get('arg1')}', arg2='{given.get('arg2')}'"))


@prompt("test_prompt_with_embedded_resource", "A prompt with a resource", "resourceUri")
async def with_resource(ctx, params):
    uri = (params.arguments or {}).get("resourceUri", "test://example-resource")
    resource = embedded(uri, "text/plain", "Embedded resource content for testing.")
    return messages(resource, text("Please process the embedded resource above."))


@prompt("test_prompt_with_image", "A prompt with a picture")
async def with_image(ctx, params):
    return messages(image(), text("Please analyze the image above."))


@prompt("test_input_required_result_prompt", "A prompt that asks back")
async def asks(ctx, params):
    context = accepted(params, "user_context", "context")
    if context is None:
        return asked(user_context=form("What context should the prompt use?", "context"))
    return messages(text(f"In the context of {context}"))


def listed() -> list[types.Resource]:
    return [
        types.Resource(uri=uri, name=uri.removeprefix("test://"), description=f"The resource {uri}", mime_type=found.mime_type)
        for uri, found in RESOURCES.items()
    ]


def templates() -> list[types.ResourceTemplate]:
    description = "Data by id"
    return [types.ResourceTemplate(uri_template=TEMPLATE, name="template", description=description, mime_type="application/json")]


def read(uri: str) -> types.ReadResourceResult:
    """What the resource holds; an unknown one is an error that names it."""
    found = RESOURCES.get(uri)
    if found is None and (matched := re.fullmatch(r"test://template/([^/]+)/data", uri)):
        number = matched[1]
        words = f'{{"id":"{number}","templateTest":true,"data":"Data for ID: {number}"}}'
        found = types.TextResourceContents(uri=uri, mime_type="application/json", text=words)
    if found is None:
        raise MCPError(code=types.INVALID_PARAMS, message="Resource not found", data={"uri": uri})
    return types.ReadResourceResult(contents=[found])
