"""In place of the suite's own: what its tests want of it without asking Microsoft for tokens."""

from enum import Enum


class AuthType(Enum):
    MANAGED_IDENTITY = "managed_identity"
    SERVICE_PRINCIPAL = "service_principal"
    DEFAULT_AZURE_CREDENTIAL = "default_azure_credential"
