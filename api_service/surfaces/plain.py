"""How surfaces answer: their clients read no problem documents, but the detail of what went wrong."""

from flask import Response
from flask_openapi3 import APIBlueprint, Tag
from pydantic import BaseModel, Field

from api_service import openapi, problems
from shared.records import compact

TAG = "Surface: "


class Refusal(BaseModel):
    """How a surface says no."""

    detail: str = Field(description="What is wrong; the status says what kind of wrong.")


REFUSED = {
    "description": "The detail says what is wrong.",
    "content": {"application/json": {"schema": openapi.reference(Refusal)}},
}
BYTES: openapi.Answers = {**openapi.BYTES, "default": REFUSED}


def surface(name: str, title: str, *, prefix: str | None = None) -> APIBlueprint:
    """A blueprint whose errors are `{"detail": "…"}`, each with the status that it has everywhere."""
    bp = APIBlueprint(name, __name__, url_prefix=prefix, abp_tags=[Tag(name=f"{TAG}{title}")])
    bp.register_error_handler(Exception, _plain)
    return bp


def answers(model: type[BaseModel], *statuses: int) -> openapi.Answers:
    """The `responses` of a view: `model` with each of the statuses, and a refusal for all else."""
    return {**openapi.answers(model, *statuses), "default": REFUSED}


def _plain(error: Exception) -> Response:
    problem = problems.answer(error)
    problem.set_data(compact({"detail": problem.get_json(force=True)["detail"]}))
    problem.mimetype = "application/json"
    return problem
