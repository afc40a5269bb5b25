from django.contrib.admin.apps import AdminConfig as Admin


class AdminConfig(Admin):
    default_site = "connect.admin.Site"
