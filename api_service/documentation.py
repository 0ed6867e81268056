"""The API's own documentation: the OpenAPI document, and two pages that render it without the internet."""

from flask import Blueprint, Response, current_app, redirect, render_template
from flask.typing import ResponseReturnValue
from flask_openapi3 import OpenAPI
from flask_openapi3_redoc.plugins import RegisterPlugin as Redoc
from flask_openapi3_swagger.plugins import RegisterPlugin as Swagger

from api_service import openapi
from shared.errors import Code

# ReDoc asks a content network for one logo; nothing here may leave the house.
POLICY = (
    "default-src 'self'; img-src 'self' data:; style-src 'self' 'unsafe-inline'; "
    "script-src 'self' 'unsafe-inline'; worker-src 'self' blob:"
)

bp = Blueprint("documentation", __name__, template_folder="templates")


def register(app: OpenAPI) -> None:
    """Serve the documentation from `app`, with the assets of its packages."""
    for plugin in (Swagger, Redoc):
        assets = plugin.register(doc_url="openapi.json")
        app.register_blueprint(assets, url_prefix="/docs/assets")
    app.register_blueprint(bp)


@bp.get("/")
def home() -> ResponseReturnValue:
    return redirect("/docs")


@bp.get("/openapi.json")
def specification() -> Response:
    app = current_app
    assert isinstance(app, OpenAPI)
    return openapi.json_response(openapi.specification(app))


@bp.get("/docs")
def swagger() -> Response:
    return _page("swagger.html")


@bp.get("/redoc")
def redoc() -> Response:
    return _page("redoc.html")


@bp.get("/docs/errors")
def errors() -> Response:
    """Where the `type` of a problem document leads."""
    return _page("errors.html", codes=list(Code))


def _page(template: str, **values: object) -> Response:
    response = Response(render_template(template, **values), mimetype="text/html")
    response.headers["Content-Security-Policy"] = POLICY
    return response
