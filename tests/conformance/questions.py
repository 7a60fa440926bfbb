"""Tools of the fixture that ask back, the way 2026-07-28 asks: an interim result, which the client answers by calling again."""

import mcp_types as types
from mcp.shared.exceptions import MCPError

from tools import said, tool


def form(message: str, field: str, kind: str = "string") -> types.ElicitRequest:
    """A question to the user with one required field."""
    schema = {"type": "object", "properties": {field: {"type": kind}}, "required": [field]}
    return types.ElicitRequest(params=types.ElicitRequestFormParams(message=message, requested_schema=schema))


def sampling(text: str, tokens: int) -> types.CreateMessageRequest:
    """A question to the client's model."""
    message = types.SamplingMessage(role="user", content=types.TextContent(type="text", text=text))
    return types.CreateMessageRequest(params=types.CreateMessageRequestParams(messages=[message], max_tokens=tokens))


def asked(state: str | None = None, **questions) -> types.InputRequiredResult:
    """The interim result with these questions."""
    return types.InputRequiredResult(input_requests=questions, request_state=state)


def accepted(params, key: str, field: str) -> str | None:
    """What the user filled in, when the answer to this question is there and is one."""
    answer = (params.input_responses or {}).get(key)
    content = getattr(answer, "content", None)
    value = content.get(field) if isinstance(content, dict) and answer.action == "accept" else None
    return str(value) if value is not None else None


def sampled(params, key: str) -> str | None:
    """What the client's model said."""
    answer = (params.input_responses or {}).get(key)
    if not isinstance(answer, types.CreateMessageResult):
        return None
    return answer.content.text


def roots(params, key: str) -> list[str] | None:
    """The client's roots."""
    answer = (params.input_responses or {}).get(key)
    return [str(root.uri) for root in answer.roots] if isinstance(answer, types.ListRootsResult) else None


def state_of(params, expected: str) -> bool:
    """Whether our own state came back. What was tampered with never gets here: the SDK seals it."""
    if params.request_state is not None and params.request_state != expected:
        raise MCPError(code=types.INVALID_PARAMS, message="this request state is of another round")
    return params.request_state == expected


@tool("test_input_required_result_elicitation", "Asks for a name")
async def elicitation(ctx, params):
    name = accepted(params, "user_name", "name")
    return said(f"Hello, {name}!") if name else asked(user_name=form("What is your name?", "name"))


@tool("test_input_required_result_sampling", "Asks the client's model")
async def asks_model(ctx, params):
    answer = sampled(params, "capital_question")
    question = sampling("What is the capital of France?", 100)
    return said(answer) if answer else asked(capital_question=question)


@tool("test_input_required_result_list_roots", "Asks for the client's roots")
async def asks_roots(ctx, params):
    found = roots(params, "client_roots")
    return said(f"roots: {', '.join(found)}") if found is not None else asked(client_roots=types.ListRootsRequest())


@tool("test_input_required_result_request_state", "Asks, and wants its state back")
async def keeps_state(ctx, params):
    if state_of(params, "one question") and accepted(params, "confirm", "ok"):
        return said("state-ok")
    return asked("one question", confirm=form("Please confirm", "ok", "boolean"))


@tool("test_input_required_result_tampered_state", "Asks, and trusts no state that it did not give")
async def guards_state(ctx, params):
    return await keeps_state(ctx, params)


@tool("test_input_required_result_multiple_inputs", "Asks three things at once")
async def asks_thrice(ctx, params):
    name, greeting, found = accepted(params, "user_name", "name"), sampled(params, "greeting"), roots(params, "client_roots")
    if state_of(params, "three questions") and name and greeting and found is not None:
        return said(f"{greeting}, {name}, at {', '.join(found)}")
    return asked(
        "three questions",
        user_name=form("What is your name?", "name"),
        greeting=sampling("Generate a greeting", 50),
        client_roots=types.ListRootsRequest(),
    )


@tool("test_input_required_result_multi_round", "Asks twice, one after the other")
async def asks_again(ctx, params):
    if params.request_state == "round two" and (color := accepted(params, "step2", "color")):
        return said(f"a favorite color: {color}")
    if params.request_state == "round one" and accepted(params, "step1", "name"):
        return asked("round two", step2=form("Step 2: What is your favorite color?", "color"))
    return asked("round one", step1=form("Step 1: What is your name?", "name"))


@tool("test_input_required_result_capabilities", "Asks only what the client can answer")
async def asks_what_it_can(ctx, params):
    capabilities = ctx.session.client_capabilities or types.ClientCapabilities()
    questions = {}
    if capabilities.elicitation is not None:
        questions["user_name"] = form("What is your name?", "name")
    if capabilities.sampling is not None:
        questions["greeting"] = sampling("Generate a greeting", 50)
    answered = questions and all(key in (params.input_responses or {}) for key in questions)
    return said("nothing to ask") if answered or not questions else asked(**questions)


@tool("test_streaming_elicitation", "Reports progress on its stream and asks in its result")
async def streams_and_asks(ctx, params):
    name = accepted(params, "user_name", "name")
    await ctx.session.report_progress(50, 100)
    return said(f"Hello, {name}!") if name else asked(user_name=form("What is your name?", "name"))
