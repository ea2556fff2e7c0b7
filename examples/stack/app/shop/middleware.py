"""Tells whose an answer is."""


def whose_answer(get_response):
    """Sets X-App-Tenant to the tenant that the request was served for."""

    def middleware(request):
        response = get_response(request)
        tenant = getattr(request, "tenant", None)
        if tenant is not None:
            response["X-App-Tenant"] = tenant.name
        return response

    return middleware
