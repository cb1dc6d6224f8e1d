"""The storage emulator that other tests rely on: shared key, and bearer tokens with user-delegation links."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
import requests
from azure.core.exceptions import HttpResponseError
from azure.storage.blob import BlobServiceClient, ContainerSasPermissions, generate_container_sas

from tests.azurite import Login, azurite, needs_azurite


@needs_azurite
def test_shared_key() -> None:
    with azurite() as storage:
        with storage.client() as client:
            container = client.create_container("media")
            container.upload_blob("a/b", b"paint")
            assert container.download_blob("a/b").readall() == b"paint"
        wrong = {"account_name": storage.account, "account_key": "d3Jvbmc="}
        with BlobServiceClient(storage.endpoint, credential=wrong) as client, pytest.raises(HttpResponseError) as caught:
            client.get_service_properties()
        assert caught.value.status_code == 403


@needs_azurite
def test_bearer_and_user_delegation() -> None:
    with azurite(oauth=True) as storage:
        start, end = datetime.now(UTC) - timedelta(minutes=10), datetime.now(UTC) + timedelta(hours=1)
        with BlobServiceClient(storage.endpoint, credential=Login(), connection_verify=str(storage.cert)) as client:
            client.create_container("media").upload_blob("clip", b"0123456789")
            key = client.get_user_delegation_key(start, end)
        link = generate_container_sas(
            storage.account,
            "media",
            user_delegation_key=key,
            permission=ContainerSasPermissions(read=True),
            expiry=end,
        )
        url = f"{storage.endpoint}/media/clip?{link}"
        assert requests.get(url, verify=str(storage.cert), timeout=20).content == b"0123456789"
        written = requests.put(url, b"x", headers={"x-ms-blob-type": "BlockBlob"}, verify=str(storage.cert), timeout=20)
        assert written.status_code == 403
