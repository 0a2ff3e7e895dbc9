"""Makes the database that each start copies: Label Studio's migrations, which take half a minute, and its users.

Runs inside Label Studio's own directory, with its settings in the environment; prints the users as JSON.
"""

import json
import os
import sys

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "core.settings.label_studio")
sys.path.insert(0, os.getcwd())

import django  # noqa: E402  (its settings are found by the lines above)

django.setup()

from django.core.management import call_command  # noqa: E402

PASSWORD = "lockgate-and-label-studio"
# Who of them does what: `removed` leaves the organization in a test, `reset` loses a token, `outsider` never had one.
NAMES = ["admin", "anna", "removed", "reset", "leaving", "outsider"]


def main() -> None:
    call_command("migrate", verbosity=0, interactive=False)
    from organizations.models import Organization
    from rest_framework.authtoken.models import Token
    from users.models import User

    organization = None
    users = {}
    for name in NAMES:
        user = User.objects.create_user(email=f"{name}@example.com", password=PASSWORD)
        if organization is None:
            organization = Organization.create_organization(created_by=user, title="Lockgate's example")
        elif name != "outsider":
            organization.add_user(user)
        if name != "outsider":
            user.active_organization = organization
            user.save(update_fields=["active_organization"])
        token = Token.objects.get(user=user)
        users[name] = {"id": user.pk, "email": user.email, "password": PASSWORD, "token": token.key}
    json.dump(users, sys.stdout)


main()
