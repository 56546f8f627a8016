"""``ocella.v1.Faces``: messages in, calls on the faces plane, messages out."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

from protos.ocella.v1 import faces_pb2 as pb
from protos.ocella.v1.faces_pb2_grpc import FacesServicer
from serving.calls import Calls
from serving.faces_plane import Caller, FacesPlane
from serving.faces_wire import (
    DEFAULT_TOP_K,
    read_reference,
    read_threshold,
    write_enrolled,
    write_identified,
    write_people,
    write_removed,
    write_verified,
)
from serving.handlers import Malformed, well_formed
from serving.security.caller import client_of
from serving.status import Failure
from serving.trail import received
from serving.vision import Context, deadline_of, refuse

RequestT = TypeVar(
    "RequestT",
    pb.EnrollRequest,
    pb.VerifyRequest,
    pb.IdentifyRequest,
    pb.ListPeopleRequest,
    pb.RemovePersonRequest,
)
AnswerT = TypeVar("AnswerT")


class Faces(FacesServicer):
    """The servicer; method names are gRPC's. Calls are counted by method and model: no name of a person anywhere."""

    def __init__(self, plane: FacesPlane, calls: Calls) -> None:
        self._plane, self._calls = plane, calls

    async def Enroll(self, request: pb.EnrollRequest | Malformed, context: Context) -> pb.EnrollResponse:  # noqa: N802
        """Add samples of a person."""

        async def work(asked: pb.EnrollRequest, caller: Caller) -> pb.EnrollResponse:
            return write_enrolled(await self._plane.enroll(caller, asked.person, asked.images))

        return await self._answer("Enroll", request, context, work)

    async def Verify(self, request: pb.VerifyRequest | Malformed, context: Context) -> pb.VerifyResponse:  # noqa: N802
        """Compare 1:1."""

        async def work(asked: pb.VerifyRequest, caller: Caller) -> pb.VerifyResponse:
            image, person = read_reference(asked)
            threshold = read_threshold(asked)
            return write_verified(
                await self._plane.verify(caller, asked.probe, image=image, person=person, threshold=threshold)
            )

        return await self._answer("Verify", request, context, work)

    async def Identify(  # noqa: N802
        self, request: pb.IdentifyRequest | Malformed, context: Context
    ) -> pb.IdentifyResponse:
        """Search 1:K."""

        async def work(asked: pb.IdentifyRequest, caller: Caller) -> pb.IdentifyResponse:
            top_k = asked.top_k or DEFAULT_TOP_K
            threshold = read_threshold(asked)
            return write_identified(await self._plane.identify(caller, asked.image, top_k=top_k, threshold=threshold))

        return await self._answer("Identify", request, context, work)

    async def ListPeople(  # noqa: N802
        self, request: pb.ListPeopleRequest | Malformed, context: Context
    ) -> pb.ListPeopleResponse:
        """List who is enrolled."""

        async def work(_: pb.ListPeopleRequest, caller: Caller) -> pb.ListPeopleResponse:
            return write_people(await self._plane.list_people(caller))

        return await self._answer("ListPeople", request, context, work)

    async def RemovePerson(  # noqa: N802
        self, request: pb.RemovePersonRequest | Malformed, context: Context
    ) -> pb.RemovePersonResponse:
        """Delete a person for good."""

        async def work(asked: pb.RemovePersonRequest, caller: Caller) -> pb.RemovePersonResponse:
            return write_removed(await self._plane.remove_person(caller, asked.person))

        return await self._answer("RemovePerson", request, context, work)

    async def _answer(
        self,
        method: str,
        request: RequestT | Malformed,
        context: Context,
        work: Callable[[RequestT, Caller], Awaitable[AnswerT]],
    ) -> AnswerT:
        self._calls.arrivals.grpc(context, "grpc")
        deadline, client = deadline_of(context), client_of(context)
        model = "" if isinstance(request, Malformed) else request.model

        async def run() -> AnswerT:
            asked = well_formed(request)
            received(asked.ByteSize())
            return await work(asked, Caller(model=model, deadline=deadline, client=client))

        outcome: Any = await self._calls.run(method, run(), deadline=deadline, model=model, client=client)
        if isinstance(outcome, Failure):
            await refuse(context, outcome)
        return outcome
