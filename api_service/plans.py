"""From what a caller names to the steps that will run: checked against what workers have announced."""

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from jsonschema import Draft202012Validator, validators
from jsonschema.exceptions import ValidationError

from api_service.problems import pointer
from shared.catalogue import Offers
from shared.errors import Code, FieldError, Refused
from shared.jobs import StepCall

Params = Mapping[str, Any]
# The choice of a provider that leaves it to the service.
AUTO = "auto"


def _unique(validator: Any, unique: bool, instance: Any, schema: Any) -> Iterator[ValidationError]:
    """`uniqueItems` in linear time: the library compares each with each where items can't be sorted."""
    if unique and isinstance(instance, list):
        seen = {json.dumps(item, sort_keys=True) for item in instance}
        if len(seen) < len(instance):
            yield ValidationError("It has an item more than once.")


_Validator = validators.extend(Draft202012Validator, {"uniqueItems": _unique})  # type: ignore[no-untyped-call]


def planned(
    pipeline: str | None,
    steps: Sequence[Mapping[str, Any]] | None,
    overrides: Mapping[str, Params],
    offers: Offers,
) -> tuple[list[StepCall], list[FieldError]]:
    """The calls to make, and what is wrong with what was asked.

    Raises `Refused` with `unavailable` if no worker has ever announced anything.
    """
    if not offers.steps:
        raise Refused(Code.UNAVAILABLE, "No worker has announced its steps yet.", retry_after=5)
    if steps is not None:
        return _composed(steps, overrides, offers)
    return _preset(pipeline, overrides, offers)


def _preset(
    pipeline: str | None, overrides: Mapping[str, Params], offers: Offers
) -> tuple[list[StepCall], list[FieldError]]:
    preset = offers.pipelines.get(pipeline or "")
    if preset is None:
        return [], [FieldError("/pipeline", _unknown(pipeline, offers.pipelines))]
    calls, wrong = [], _strangers(overrides, [each["step"] for each in preset.steps])
    for each in preset.steps:
        name, params = each["step"], {**each["params"], **overrides.get(each["step"], {})}
        if name not in offers.steps:
            wrong.append(FieldError("/pipeline", f"Its step {_unknown(name, offers.steps)}"))
            continue
        calls.append(_call(offers, name, params))
        wrong += _wrong_params(offers, name, params, pointer("/params", name))
    return calls, wrong


def _composed(
    steps: Sequence[Mapping[str, Any]], overrides: Mapping[str, Params], offers: Offers
) -> tuple[list[StepCall], list[FieldError]]:
    calls: list[StepCall] = []
    wrong = _strangers(overrides, [each["step"] for each in steps])
    for index, each in enumerate(steps):
        where, name = f"/steps/{index}", each["step"]
        if name not in offers.steps:
            wrong.append(FieldError(f"{where}/step", _unknown(name, offers.steps)))
            continue
        if name in (call.step for call in calls):
            wrong.append(FieldError(f"{where}/step", f"{name!r} is there already; a job runs a step once."))
        given, override = each.get("params", {}), overrides.get(name, {})
        merged = {**given, **override}
        calls.append(_call(offers, name, merged))
        for error in _wrong_params(offers, name, merged, ""):
            overridden = error.pointer[1:].split("/")[0] in override
            prefix = pointer("/params", name) if overridden else f"{where}/params"
            wrong.append(replace(error, pointer=prefix + error.pointer))
    return calls, wrong


def _call(offers: Offers, name: str, params: Params) -> StepCall:
    offer, configured = offers.steps[name], offers.providers.get(name, {})
    return StepCall(
        step=offer.name,
        stage=offer.stage,
        params=params,
        version=offer.version,
        cacheable=offer.is_cacheable(params),
        provider=configured.get(params.get("provider", AUTO), next(iter(configured.values()), None)),
    )


def _strangers(overrides: Iterable[str], steps: Sequence[str]) -> list[FieldError]:
    return [
        FieldError(pointer("/params", name), f"No such step in this job; its steps are {', '.join(steps)}.")
        for name in overrides
        if name not in steps
    ]


def _wrong_params(offers: Offers, step: str, params: Params, prefix: str) -> list[FieldError]:
    found = _Validator(dict(offers.steps[step].params)).iter_errors(dict(params))
    wrong = [each for error in found for each in _explained(error, prefix)]
    return wrong or _wrong_provider(offers.providers.get(step), params, prefix)


def _wrong_provider(configured: Mapping[str, str] | None, params: Params, prefix: str) -> list[FieldError]:
    """One that was asked for by name and isn't there, as far as those who would call it have said."""
    asked = params.get("provider", AUTO)
    if configured is None or asked in (AUTO, *configured):
        return []
    detail = f"{asked!r} is not configured here; there are {', '.join([AUTO, *configured])}."
    return [FieldError(pointer(prefix, "provider"), detail, Code.PROVIDER_UNAVAILABLE)]


def _explained(error: ValidationError, prefix: str) -> list[FieldError]:
    if error.validator in ("anyOf", "oneOf") and error.context:
        return [wrong for each in _meant(error.context) for wrong in _explained(each, prefix)]
    where = pointer(prefix, *error.absolute_path)
    if (
        error.validator == "additionalProperties"
        and isinstance(error.schema, dict)
        and isinstance(error.instance, dict)
    ):
        known = error.schema.get("properties", {})
        return [
            FieldError(pointer(where, name), _unknown(name, known))
            for name in error.instance
            if name not in known
        ]
    if error.validator == "required" and isinstance(error.instance, dict) and isinstance(error.schema, dict):
        missing = [name for name in error.schema["required"] if name not in error.instance]
        return [FieldError(pointer(where, name), "Field required") for name in missing]
    return [FieldError(where, error.message)]


def _meant(alternatives: Sequence[ValidationError]) -> Sequence[ValidationError]:
    """What is wrong with the alternative of the right type; if none is, with the first."""
    strangers = {
        each.relative_schema_path[0]
        for each in alternatives
        if each.validator == "type" and not each.relative_path
    }
    meant = [each for each in alternatives if each.relative_schema_path[0] not in strangers]
    return meant or alternatives[:1]


def _unknown(name: str | None, known: Iterable[str]) -> str:
    return f"{name!r} is not on offer; there are {', '.join(sorted(known))}."
