"""Every feature of 2025-11-25, against server-everything, over each route."""

import anyio
import mcp_types as types
import pytest

from processes import PATIENCE

pytestmark = pytest.mark.anyio


async def test_the_handshake_is_the_servers_own(everything):
    async with everything.client() as client:
        assert client.protocol_version == "2025-11-25"
        assert client.server_info.name == "mcp-servers/everything"
        assert client.server_capabilities.resources.subscribe
        assert client.server_capabilities.tasks.requests.tools.call is not None
        assert "Everything" in client.instructions


async def test_a_client_that_asks_for_the_newest_version_falls_back(everything):
    async with everything.client(mode="auto") as client:
        assert client.protocol_version == "2025-11-25"
        assert (await client.call_tool("echo", {"message": "back"})).content[0].text == "Echo: back"


async def test_tools_are_listed_in_the_servers_order(everything):
    async with everything.client() as client:
        names = [tool.name for tool in (await client.list_tools()).tools]
    expected = ["echo", "get-annotated-message", "get-env", "get-resource-links", "get-resource-reference"]
    if everything.through != "direct":
        expected.remove("get-env")  # a deny rule of the policy
    assert names[: len(expected)] == expected


async def test_a_tool_answers(everything):
    async with everything.client() as client:
        assert (await client.call_tool("get-sum", {"a": 19, "b": 23})).content[0].text == "The sum of 19 and 23 is 42."


async def test_structured_and_binary_results_arrive(everything):
    async with everything.client() as client:
        weather = await client.call_tool("get-structured-content", {"location": "Chicago"})
        assert weather.structured_content["temperature"] == 36
        image = await client.call_tool("get-tiny-image", {})
        assert any(isinstance(part, types.ImageContent) for part in image.content)


async def test_a_bad_argument_is_the_servers_to_refuse(everything):
    async with everything.client() as client:
        result = await client.call_tool("get-sum", {"a": "nineteen", "b": 23})
        assert result.is_error


async def test_progress_arrives_while_the_call_runs(everything):
    steps = []

    async def progress(done, total, _message):
        steps.append((done, total))

    async with everything.client() as client:
        await client.call_tool(
            "trigger-long-running-operation", {"duration": 1.2, "steps": 4}, progress_callback=progress
        )
    assert steps[:3] == [(1, 4), (2, 4), (3, 4)]  # the last one races with the answer


async def test_a_session_goes_on_after_a_cancelled_call(everything):
    async with everything.client() as client:
        with anyio.move_on_after(0.5) as scope:
            await client.call_tool("trigger-long-running-operation", {"duration": 60, "steps": 2})
        assert scope.cancelled_caught
        with anyio.fail_after(PATIENCE):
            assert (await client.call_tool("echo", {"message": "still here"})).content[0].text == "Echo: still here"


async def test_calls_of_one_session_run_side_by_side(everything):
    async with everything.client() as client:
        begun = anyio.Event()

        async def progress(_done, _total, _message):
            begun.set()

        async def long():
            arguments = {"duration": 3 * PATIENCE, "steps": 10 * PATIENCE}
            await client.call_tool("trigger-long-running-operation", arguments, progress_callback=progress)

        async with anyio.create_task_group() as group:
            group.start_soon(long)
            with anyio.fail_after(PATIENCE):
                await begun.wait()
                await client.call_tool("echo", {"message": "meanwhile"})
            group.cancel_scope.cancel()


async def test_resources_are_listed_and_read(everything):
    async with everything.client() as client:
        listed = (await client.list_resources()).resources
        assert any(str(resource.uri).startswith("demo://resource/static/document/") for resource in listed)
        templates = (await client.list_resource_templates()).resource_templates
        assert "demo://resource/dynamic/text/{resourceId}" in [template.uri_template for template in templates]
        read = await client.read_resource("demo://resource/dynamic/text/7")
        assert read.contents[0].text.startswith("Resource 7: This is a plaintext resource")


async def test_a_subscriber_hears_of_a_changed_resource(everything):
    uri, updated = "demo://resource/dynamic/text/3", anyio.Event()

    async def heard(message):
        if isinstance(message, types.ResourceUpdatedNotification) and str(message.params.uri) == uri:
            updated.set()

    async with everything.client(message_handler=heard) as client:
        await client.session.subscribe_resource(uri)
        await client.call_tool("toggle-subscriber-updates", {})
        with anyio.fail_after(PATIENCE):
            await updated.wait()
        await client.session.unsubscribe_resource(uri)


async def test_prompts_are_listed_and_filled_in(everything):
    async with everything.client() as client:
        names = [prompt.name for prompt in (await client.list_prompts()).prompts]
        assert {"simple-prompt", "args-prompt", "completable-prompt"} <= set(names)
        prompt = await client.get_prompt("completable-prompt", {"department": "Sales", "name": "Eve"})
        assert prompt.messages[0].content.text == "Please promote Eve to the head of the Sales team."


async def test_arguments_of_prompts_and_templates_are_completed(everything):
    async with everything.client() as client:
        reference = types.PromptReference(type="ref/prompt", name="completable-prompt")
        departments = await client.complete(reference, {"name": "department", "value": "S"})
        assert departments.completion.values == ["Sales", "Support"]
        names = await client.complete(reference, {"name": "name", "value": "E"}, {"department": "Sales"})
        assert names.completion.values == ["Eve"]
        template = types.ResourceTemplateReference(
            type="ref/resource", uri="demo://resource/dynamic/text/{resourceId}"
        )
        numbers = await client.complete(template, {"name": "resourceId", "value": "12"})
        assert numbers.completion.values == ["12"]


async def test_log_messages_arrive_from_the_level_asked_for(everything):
    logged = []

    async def log(params):
        logged.append(params)

    async with everything.client(logging_callback=log) as client:
        await client.set_logging_level("info")
        await client.session.subscribe_resource("demo://resource/dynamic/text/5")  # the server logs each
        with anyio.fail_after(PATIENCE):
            while not any("Received Subscribe" in str(params.data) for params in logged):
                await anyio.sleep(0.02)


async def test_the_server_asks_the_user_and_gets_the_answer(everything):
    asked = []

    async def elicit(_context, params):
        asked.append(params.message)
        return types.ElicitResult(action="accept", content={"name": "Ada", "check": True})

    async with everything.client(elicitation_callback=elicit) as client:
        result = await client.call_tool("trigger-elicitation-request", {})
    assert len(asked) == 1
    assert any("Ada" in part.text for part in result.content)


async def test_the_server_asks_the_clients_model_and_gets_the_answer(everything):
    async def sample(_context, params):
        assert "what is the capital" in params.messages[0].content.text
        return types.CreateMessageResult(
            role="assistant", content=types.TextContent(type="text", text="Paris, said the model"), model="stub"
        )

    async with everything.client(sampling_callback=sample) as client:
        result = await client.call_tool("trigger-sampling-request", {"prompt": "what is the capital", "maxTokens": 9})
    assert any("Paris, said the model" in part.text for part in result.content)


async def test_the_server_asks_for_the_clients_roots(everything):
    async def roots(_context):
        return types.ListRootsResult(roots=[types.Root(uri="file:///srv/project", name="project")])

    async with everything.client(list_roots_callback=roots) as client:
        result = await client.call_tool("get-roots-list", {})
    assert any("file:///srv/project" in part.text for part in result.content)


async def test_ping_is_answered(everything):
    async with everything.client() as client:
        await client.send_ping()


async def test_many_sessions_at_once_get_their_own_answers(everything):
    async def one(number):
        async with everything.client() as client:
            for turn in range(5):
                said = await client.call_tool("echo", {"message": f"{number}.{turn}"})
                assert said.content[0].text == f"Echo: {number}.{turn}"

    async with anyio.create_task_group() as group:
        for number in range(4):
            group.start_soon(one, number)
