"""Give a call what follows from who sends it: salt, priority, a name in the log, and an account."""

from typing import TypeVar

from server.access.admission import Ticket
from server.access.principal import Principal
from server.engine_interface import CountTokens
from server.protocol.engine_call import EngineCall
from server.telemetry.request_record import current_record

C = TypeVar("C", bound=EngineCall)


def senders_call(call: C, principal: Principal, ticket: Ticket) -> tuple[C, CountTokens]:
    """Return the call with its sender's salt and priority, and what counts its tokens."""
    salted = call.with_cache_salt(principal.cache_salt(call.cache_salt)).with_priority(ticket.priority)
    record = current_record()
    record.model = salted.body["model"]
    return salted, record.counting(principal.account.count)
