from typing import Any

import pytest
from litestar import Litestar

from gateway.app import create_app
from gateway.config import load_settings
from gateway.openapi.document import document_of
from tests.gateway.fakes import FakeEngine


@pytest.fixture(scope="session")
def app(tmp_path_factory: pytest.TempPathFactory) -> Litestar:
    folder = tmp_path_factory.mktemp("models")
    return create_app(load_settings(None, {"models_dir": folder}), FakeEngine())


@pytest.fixture(scope="session")
def document(app: Litestar) -> dict[str, Any]:
    return document_of(app)
