from api_service import surfaces
from api_service.app import create_app
from api_service.settings import ApiSettings

OWN = ("/v1/", "/livez", "/readyz", "/metrics", "/info", "/ui", "/docs", "/redoc", "/openapi.json")


def test_the_service_needs_none_of_its_surfaces(environ, offers, monkeypatch):
    everything = paths(environ)
    monkeypatch.setattr(surfaces, "ALL", ())
    monkeypatch.setattr(surfaces, "INFO", ())

    left = paths(environ)
    assert len(left) < len(everything)
    assert all(path == "/" or path.startswith(OWN) for path in left)
    client = create_app(ApiSettings.from_env(environ)).test_client()
    assert "pipelines" not in client.get("/info").get_json()
    assert client.get("/openapi.json").status_code == 200


def test_each_surface_can_be_left_out_alone(environ, offers, monkeypatch):
    everything = paths(environ)
    for each in surfaces.ALL:
        monkeypatch.setattr(surfaces, "ALL", [other for other in surfaces.ALL if other is not each])
        assert paths(environ) < everything
        monkeypatch.undo()


def paths(environ):
    return {rule.rule for rule in create_app(ApiSettings.from_env(environ)).url_map.iter_rules()}
