"""Serves the page that uploads, follows and shows; it talks to the API as any other client does."""

from flask import Blueprint, Response, render_template

POLICY = (
    "default-src 'self'; img-src 'self' data:; object-src 'none'; base-uri 'none'; frame-ancestors 'none'"
)

bp = Blueprint("ui", __name__, url_prefix="/ui", template_folder="templates", static_folder="static")


@bp.get("")
def page() -> Response:
    response = Response(render_template("ui.html"), mimetype="text/html")
    response.headers["Content-Security-Policy"] = POLICY
    return response
